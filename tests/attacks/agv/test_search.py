"""The search: resumable to the bit, honest in what it reports, and the plain strategy as the thesis describes it."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from foolscope.attacks.agv import STRATEGIES, Candidate, Distance, Evaluator, Frechet, Search, SearchProgress, Settings
from foolscope.attacks.agv.contest import sign_test
from foolscope.attacks.agv.genome import Pool
from foolscope.attacks.agv.state import judged, member
from foolscope.errors import Cancelled, CorruptError, InputError
from foolscope.filters import Chain
from tests.attacks.agv.worlds import Bright, Counting, colors, labeled, named, settings, world

each_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


def saved(search: Search) -> dict[str, Any]:
    """The state, as a file gives it back."""
    state: dict[str, Any] = json.loads(json.dumps(search.state()))
    return state


def same(found: Candidate, other: Candidate) -> bool:
    """Whether two candidates have the same numbers."""
    flags = all(torch.equal(getattr(found, name), getattr(other, name)) for name in ("right", "fooled", "changed"))
    if found.detected is not None:
        assert other.detected is not None
        flags = flags and torch.equal(found.detected, other.detected)
    return flags and dict(found.distances) == pytest.approx(dict(other.distances), rel=1e-5)


@each_strategy
def test_a_search_goes_on_to_the_same_bits_after_any_step(strategy: str) -> None:
    chosen = settings(strategy=strategy)
    whole = Search(chosen, world(), seed=3)
    states = [saved(whole)]
    while not whole.done:
        whole.step()
        states.append(saved(whole))
    assert len(states) == whole.steps + 1 == 4
    for state in states:
        resumed = Search.restore(chosen, world(), copy.deepcopy(state))
        assert saved(resumed) == state
        resumed.run()
        assert saved(resumed) == states[-1]
        assert resumed.history == whole.history
    assert resumed.front().hypervolume == whole.front().hypervolume
    assert [found.chain for found in resumed.front().candidates] == [found.chain for found in whole.front().candidates]


@each_strategy
def test_a_step_that_is_cancelled_leaves_nothing(strategy: str) -> None:
    chosen = settings(strategy=strategy)
    uninterrupted = Search(chosen, world(), seed=3)
    uninterrupted.run()
    calls = 0

    def count(progress: SearchProgress) -> None:
        nonlocal calls
        calls += 1

    probe = Search(chosen, world(), seed=3)
    probe.step()
    probe.step(count)
    assert calls >= 3
    search = Search(chosen, world(), seed=3)
    search.step()
    before = saved(search)
    for last in (1, 2, calls // 2, calls):
        seen: list[SearchProgress] = []

        def cancel(progress: SearchProgress, seen: list[SearchProgress] = seen, last: int = last) -> None:
            seen.append(progress)
            if len(seen) == last:
                raise Cancelled

        with pytest.raises(Cancelled):
            search.step(cancel)
        assert len(seen) == last
        assert saved(search) == before
    search.run()
    assert saved(search) == saved(uninterrupted)


@each_strategy
def test_progress_counts_up(strategy: str) -> None:
    seen: list[SearchProgress] = []
    search = Search(settings(strategy=strategy), world())
    search.run(seen.append)
    assert [one.step for one in seen] == sorted(one.step for one in seen)
    assert {one.step for one in seen} == set(range(1, search.steps + 1))
    for name in ("queries", "detections", "judged"):
        values = [getattr(one, name) for one in seen]
        assert values == sorted(values)
    assert seen[-1].queries <= search.history[-1].queries
    assert all(one.steps == search.steps for one in seen)


@each_strategy
@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "detection"},
        {"objective": "linf"},
        {"objective": "detection,l2,color", "several": "mean"},
        {"objective": "detection", "against": "prediction", "pool": "all"},
    ],
    ids=str,
)
def test_what_is_reported_was_computed_on_all_images(strategy: str, changes: dict[str, Any]) -> None:
    chosen = settings(strategy=strategy, **changes)
    for seed in range(2):
        evaluator = world(models=2, seed=seed)
        search = Search(chosen, evaluator, seed=seed)
        front = search.run()
        assert front.objectives == chosen.objectives
        for found in front.candidates:
            again = evaluator.judge(found.chain, distances=chosen.distances, several=chosen.several)
            assert same(found, again)
            assert found.detected is not None or "detection" not in chosen.objectives
            assert found.right.shape == (2, 12)
        points = search.history[-1].points
        rates = [found.asr if chosen.against == "label" else found.asr_clean for found in front.candidates]
        assert [point[0] for point in points] == pytest.approx([1 - rate for rate in rates])
        assert rates == sorted(rates, reverse=True)


@each_strategy
def test_whatever_is_kept_was_computed_on_all_images(strategy: str) -> None:
    """Not the front alone: detection that was broken off leaves no candidate."""
    evaluator = world(images=60)
    search = Search(settings(strategy=strategy, batch=60, epochs=2, objective="detection,linf"), evaluator, seed=0)
    search.run()
    kept = [judged(row, evaluator, "worst")[1] for row in search.state()["judged"]]
    candidates = [found for found in kept if found is not None]
    assert len(candidates) >= len(search.front().candidates) > 1
    assert any(found.detection for found in candidates)
    for found in candidates:
        assert same(found, evaluator.judge(found.chain))


@pytest.mark.parametrize(
    ("strategy", "objective"),
    [
        *itertools.product(["racing", "plain"], ["detection", "linf", "l2", "ssim", "color", "fid", "detection,linf"]),
        ("gradient", "detection,color,fid"),
    ],
)
def test_every_objective(strategy: str, objective: str) -> None:
    distances: dict[str, Distance] = {
        "fid": Frechet(lambda images: images.flatten(2).mean(2)),
        "ssim": lambda first, second: (first - second).square().flatten(1).mean(1),
    }
    evaluator = world(distances=distances)
    search = Search(settings(strategy=strategy, objective=objective), evaluator, seed=1)
    front = search.run()
    assert front.candidates
    volumes = [step.hypervolume for step in search.history]
    assert volumes == sorted(volumes), "the archive loses nothing"
    assert volumes[-1] == front.hypervolume > 0
    points = torch.tensor(search.history[-1].points)
    assert points.shape == (len(front.candidates), 1 + len(search.settings.objectives))
    worse = (points[:, None] <= points).all(2) & (points[:, None] < points).any(2)
    assert not worse.any(), "no chain of the front dominates another"
    for place, name in enumerate(search.settings.objectives, start=1):
        if name != "detection":
            values = [found.distances[name] / evaluator.scale(name) for found in front.candidates]
            assert points[:, place].tolist() == pytest.approx(values)


@each_strategy
def test_the_mean_linf_distance_is_kept_below_its_bound(strategy: str) -> None:
    evaluator = world()
    free = Search(settings(strategy=strategy), evaluator, seed=2).run()
    bound = 0.1
    assert max(found.distances["linf"] for found in free.candidates) > bound
    front = Search(settings(strategy=strategy, max_linf=bound), evaluator, seed=2).run()
    assert front.candidates
    assert all(found.distances["linf"] <= bound for found in front.candidates)
    assert front.hypervolume > 0


@each_strategy
def test_a_bound_that_no_chain_keeps(strategy: str) -> None:
    search = Search(settings(strategy=strategy, max_linf=0.0), world(), seed=2)
    front = search.run()
    assert len(front.candidates) == 1
    assert front.candidates[0].distances["linf"] > 0
    assert front.hypervolume == 0


@each_strategy
def test_several_models(strategy: str) -> None:
    """The worst rate is that of the model that is fooled least."""
    for several, combined in (("worst", min), ("mean", lambda rates: sum(rates) / len(rates))):
        search = Search(settings(strategy=strategy, several=several, objective="linf"), world(models=3), seed=1)
        for found in search.run().candidates:
            assert found.models == search.evaluator.names
            assert found.asr == pytest.approx(combined([tally.asr for tally in found.tallies]))
        assert (search.evaluator.queries.sum(1) == search.evaluator.queries.sum(1)[0]).all()


def test_the_plain_strategy_asks_as_the_thesis_does() -> None:
    """Every chain on the whole batch: P at first, then P children with K points in each of G inner generations."""
    chosen = settings(strategy="plain", epochs=2, generations=2)
    size, inner = chosen.population, chosen.samples * chosen.generations
    detector, model, images = Counting(), named(0), colors(12)
    evaluator = Evaluator(model, images, labeled(model, images), detectors=detector)
    search = Search(chosen, evaluator)
    search.step()
    first = search.evaluator.queries.clone()
    assert sorted(first.flatten().tolist()) == [0] * 5 + [size] * 7
    search.step()
    assert torch.equal(search.evaluator.queries, first + (first > 0) * size * (inner + 1))
    search.step()
    assert torch.equal(search.evaluator.queries, first + size * (inner + 1)), "an epoch looks at every image once"
    assert search.front().candidates == ()
    search.run()
    assert search.steps == 5
    assert torch.equal(search.evaluator.queries, first + size * (2 * (inner + 1) + 1)), "at last all judge all images"
    assert torch.equal(search.evaluator.detections, search.evaluator.queries), "nothing is remembered"
    assert detector.seen == int(search.evaluator.detections.sum())
    assert 1 <= search.history[-1].judged <= size, "two of the population may be equal"


def test_the_plain_strategy_tells_when_it_found_a_chain() -> None:
    """That is the step after which it first was in the population."""
    search = Search(settings(strategy="plain", batch=12, epochs=4, objective="linf"), world(), seed=1)
    pool, born = Pool(search.settings.pool), dict[Chain, int]()
    while not search.done:
        search.step()
        for values in search.state()["population"]:
            born.setdefault(pool.chain(member(values).genome), len(search.history))
    kept = dict(judged(row, world(), "worst") for row in search.state()["judged"])
    steps = {chain: found.step for chain, found in kept.items() if found is not None}
    assert steps == {chain: born[chain] for chain in steps}
    assert len(set(steps.values())) > 1


@pytest.mark.parametrize("objective", ["linf", "fid"])
@pytest.mark.parametrize("strategy", ["racing", "gradient"])
def test_batches_without_an_image_to_attack(strategy: str, objective: str) -> None:
    """Two of the twelve images are misclassified, each a batch of its own: others take their place."""
    distances: dict[str, Distance] = {"fid": Frechet(lambda images: images.flatten(2).mean(2))}
    chosen = settings(strategy=strategy, objective=objective, batch=1, population=2)
    search = Search(chosen, world(distances=distances), seed=1)
    assert search.run().candidates
    assert search.steps == 13


def test_the_frechet_distance_needs_two_images() -> None:
    model, pixels = named(0), colors(4)
    distances: dict[str, Distance] = {"fid": Frechet(lambda images: images.flatten(2).mean(2))}
    alone = Evaluator(model, pixels, labeled(model, pixels, wrong=3), distances=distances)
    message = "the objective 'fid' needs at least 2 images to attack, there is 1."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Search(settings(objective="linf,fid"), alone)
    message = (
        "the plain strategy tries chains on whole batches, and the objective 'fid' needs 2 images: batch=11 leaves a "
        "batch of 1 of 12: name another one."
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Search(settings(objective="fid", strategy="plain", batch=11), world(distances=distances))


def test_the_race_never_measures_the_frechet_distance_on_one_image() -> None:
    """9 images to attack are 8 and one more, which the race leaves out."""
    seen: list[int] = []

    def features(images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return images.flatten(2).mean(2)

    evaluator = world(images=11, distances={"fid": Frechet(features)})
    assert Search(settings(objective="fid", batch=11), evaluator, seed=1).run().candidates
    assert min(seen) >= 2


def test_the_plain_strategy_keeps_the_best_of_parents_and_children() -> None:
    """On batches of all images nothing that a parent reached is lost, and what is judged at last is the population."""
    chosen = settings(strategy="plain", generations=0, batch=12, epochs=6, objective="linf")
    search = Search(chosen, world(), seed=1)
    populations = []
    while not search.done:
        search.step()
        populations.append([member["objectives"] for member in search.state()["population"]])
    assert len(populations) == 7
    for before, after in itertools.pairwise(populations):
        assert len(after) == 4
        assert min(point[0] for point in after) <= min(point[0] for point in before)
    points = {tuple(point) for point in search.history[-1].points}
    assert points <= {tuple(point) for point in populations[-1]}, "batch and final judgment are of the same images"


@pytest.mark.parametrize("strategy", ["racing", "gradient"])
def test_no_chain_is_judged_twice_and_detectors_are_asked_less(strategy: str) -> None:
    search = Search(settings(strategy=strategy, epochs=3), world(images=24), seed=1)
    search.run()
    chains = [json.dumps(row["chain"]) for row in search.state()["judged"]]
    assert len(chains) == len(set(chains)) == search.history[-1].judged
    assert search.history[-1].detections < search.history[-1].queries
    plain = Search(settings(strategy="plain", epochs=3), world(images=24), seed=1)
    plain.run()
    assert search.history[-1].detections < plain.history[-1].detections


def test_equal_chains_are_one_answer() -> None:
    """Where only one chain is possible, the front has one."""
    pool = settings(filters=1, pool="juno", objective="linf", mutation=0.0, rate=0.0)
    front = Search(pool, world(), seed=1).run()
    assert len({found.chain for found in front.candidates}) == len(front.candidates)


def test_the_seed_decides() -> None:
    states = [saved(Search(settings(), world(), seed=seed)) for seed in (1, 1, 2)]
    assert states[0] == states[1]
    assert states[0]["generator"] != states[2]["generator"]
    searches = [Search(settings(), world(), seed=seed) for seed in (1, 1, 2)]
    fronts = [[found.chain for found in search.run().candidates] for search in searches]
    assert fronts[0] == fronts[1] != fronts[2]


def test_a_finished_search_has_no_next_step() -> None:
    search = Search(settings(epochs=1, objective="linf"), world())
    search.run()
    assert search.done
    with pytest.raises(InputError, match=r"^the search is finished: it has 3 steps\.$"):
        search.step()


def one_step() -> tuple[Settings, dict[str, Any]]:
    chosen = settings()
    search = Search(chosen, world())
    search.step()
    return chosen, saved(search)


@pytest.mark.parametrize(
    ("changes", "evaluator", "message"),
    [
        ({"filters": 3}, world, "the saved search has filters=2, not filters=3."),
        ({"max_linf": 0.5}, world, "the saved search has max_linf=None, not max_linf=0.5."),
        ({"strategy": "plain"}, world, "the saved search has strategy=racing, not strategy=plain."),
        ({}, lambda: world(seed=1), "the saved search was on other images."),
        ({}, lambda: world(images=11), "the saved search was on 12 images, not 11."),
        (
            {},
            lambda: Evaluator(named(0), colors(12), labeled(named(0), colors(12)), detectors=Bright(0.61)),
            "the saved search had detectors Bright(most=0.6), not Bright(most=0.61).",
        ),
    ],
)
def test_another_search_is_not_resumed(
    changes: dict[str, Any], evaluator: Callable[[], Evaluator], message: str
) -> None:
    chosen, state = one_step()
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Search.restore(chosen.replace(**changes), evaluator(), state)


def test_a_state_of_another_schema_is_refused() -> None:
    chosen, state = one_step()
    state["schema"] = "foolscope-search/0"
    message = "the saved search is of schema foolscope-search/0, not foolscope-search/3: begin anew."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Search.restore(chosen, world(), state)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema",), KeyError),
        (("settings", "filters"), KeyError),
        (("generator",), "zz"),
        (("generator",), "00"),
        (("queries",), [[1, 2]]),
        (("queries",), "many"),
        (("population",), [{"kinds": [1]}]),
        (("population",), None),
        (("judged", 0, "chain", 0, 0), "nothing"),
        (("judged", 0, "chain", 0, 1), 7.0),
        (("judged", 0, "chain"), []),
        (("judged", 0, "candidate"), {"fooled": ["0"]}),
        (("judged", 0, "candidate", "fooled"), ["fffff"]),
        (("judged", 0, "candidate", "changed"), ["-1"]),
        (("history", 0, "step"), KeyError),
        (("history",), 3),
    ],
    ids=str,
)
def test_a_damaged_state_is_refused(place: tuple[Any, ...], value: Any) -> None:
    chosen, state = one_step()
    target: Any = state
    for key in place[:-1]:
        target = target[key]
    if value is KeyError:
        del target[place[-1]]
    else:
        target[place[-1]] = value
    with pytest.raises(CorruptError, match=r"^the saved search is damaged \(\w+\): begin anew\.$"):
        Search.restore(chosen, world(), state)


@pytest.mark.parametrize("state", [{}, {"schema": "foolscope-search/3"}])
def test_something_else_is_no_state(state: dict[str, Any]) -> None:
    with pytest.raises(CorruptError, match=r"^the saved search is damaged \(KeyError\): begin anew\.$"):
        Search.restore(settings(), world(), state)


def test_the_sign_test_by_hand() -> None:
    assert sign_test(0, 5) == 1
    assert sign_test(3, 0) == pytest.approx(1 / 8)
    assert sign_test(4, 1) == pytest.approx(6 / 32)
    assert sign_test(5, 5) == pytest.approx(638 / 1024)


def test_chains_that_do_more_fool_more() -> None:
    """A search finds better chains than the random ones that it begins with."""
    evaluator = world(images=24)
    search = Search(settings(objective="linf", epochs=4, population=6), evaluator, seed=0)
    search.step()
    begin = search.front().hypervolume
    assert search.run().hypervolume > begin


def test_models_are_not_needed_to_read_a_front() -> None:
    front = Search(settings(), world(), seed=1).run()
    assert all(isinstance(found.chain, Chain) for found in front.candidates)
    assert all(found.step in range(1, 4) for found in front.candidates)
    assert all(found.queries > 0 for found in front.candidates)
