"""Genomes and the operators that vary them."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from foolscope.attacks.agv.genome import THESIS, Genomes, Pool
from foolscope.errors import InputError, ParameterError, SpecError
from foolscope.filters import FILTERS, parse_chain
from foolscope.randomness import generator
from tests.attacks.agv.worlds import colors

some = hypothesis_settings(max_examples=20, deadline=None)
pools = st.sampled_from(["thesis", "all", "juno", "lark,gingham"])


def draws(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator(seed), dtype=torch.float64)


def genomes(pool: Pool, count: int, genes: int, seed: int) -> Genomes:
    return pool.random(draws(seed, count, genes, 3))


@some
@given(pools, st.integers(1, 10), st.integers(0, 2**32))
def test_random_genomes_and_children_stay_in_the_ranges_of_their_filters(text: str, genes: int, seed: int) -> None:
    pool = Pool(text)
    parents = genomes(pool, 20, genes, seed)
    children = pool.offspring(parents[:10], parents[10:], 0.5, draws(seed + 1, 10, 1 + 4 * genes))
    for made in (parents, children):
        assert made.kinds.min() >= 0
        assert made.kinds.max() < len(pool)
        for genome in made:
            for item in pool.chain(genome).filters:
                assert item.name in pool.names
                assert item.strength_range[0] <= item.strength <= item.strength_range[1]
                assert item.intensity_range[0] <= item.intensity <= item.intensity_range[1]


def test_the_ends_of_the_unit_square_are_the_ends_of_the_ranges() -> None:
    pool = Pool("all")
    kinds = torch.arange(len(pool))
    for value, end in ((0.0, 0), (1.0, 1)):
        amounts = pool.amounts(Genomes(kinds, torch.full((len(pool), 2), value, dtype=torch.float64)))
        for name, (strength, intensity) in zip(pool.names, amounts.tolist(), strict=True):
            expected = (FILTERS[name].strength_range[end], FILTERS[name].intensity_range[end])
            assert (strength, intensity) == pytest.approx(expected)


@some
@given(st.integers(1, 10), st.integers(0, 2**32))
def test_without_mutation_a_child_is_its_parents_on_both_sides_of_a_cut(genes: int, seed: int) -> None:
    pool = Pool("all")
    first, second = genomes(pool, 30, genes, seed), genomes(pool, 30, genes, seed + 1)
    children = pool.offspring(first, second, 0.0, draws(seed + 2, 30, 1 + 4 * genes))
    cuts = set()
    for one, other, child in zip(first, second, children, strict=True):
        fits = [
            cut
            for cut in range(1, genes + 1)
            if torch.equal(child.values, torch.cat([one.values[:cut], other.values[cut:]]))
            and torch.equal(child.kinds, torch.cat([one.kinds[:cut], other.kinds[cut:]]))
        ]
        assert fits, "the child is no crossover at one point"
        cuts |= set(fits)
    if genes == 1:
        assert cuts == {1}
    else:
        assert cuts <= set(range(1, genes)), "both parents give at least one gene"


def test_every_cut_occurs_equally_often_and_genes_mutate_with_their_probability() -> None:
    pool, count, genes = Pool("all"), 6000, 4
    first, second = genomes(pool, count, genes, 1), genomes(pool, count, genes, 2)
    child = pool.offspring(first, second, 0.0, draws(3, count, 1 + 4 * genes))
    cuts = (child.values == first.values).all(2).sum(1)
    assert torch.bincount(cuts)[1:].tolist() == pytest.approx([count / 3] * 3, rel=0.1)
    crossed = child
    for probability in (0.25, 0.5, 1.0):
        child = pool.offspring(first, second, probability, draws(3, count, 1 + 4 * genes))
        changed = (child.values != crossed.values).any(2).double().mean(0)
        assert changed.tolist() == pytest.approx([probability] * genes, abs=0.03)
    assert torch.bincount(child.kinds.flatten()).tolist() == pytest.approx([count * genes / len(pool)] * 10, rel=0.1)


@some
@given(pools.filter(lambda text: text != "juno"), st.integers(1, 5), st.integers(0, 2**32))
def test_filtering_each_image_by_its_own_genome(text: str, genes: int, seed: int) -> None:
    pool, images = Pool(text), colors(5, seed % 1000)
    made = genomes(pool, 5, genes, seed)
    together = pool.apply(made, images)
    for place, genome in enumerate(made):
        alone = images[place : place + 1]
        torch.testing.assert_close(together[place : place + 1], pool.chain(genome)(alone), atol=2e-6, rtol=0)
        assert torch.equal(pool.apply(genome, alone), pool.chain(genome)(alone))


def test_gradients_flow_to_the_values() -> None:
    pool, images = Pool("thesis"), colors(4)
    for one_for_all in (True, False):
        made = genomes(pool, 4, 3, 0)
        made = Genomes(made.kinds, made.values.clone().requires_grad_())
        filtered = pool.apply(made[0] if one_for_all else made, images)
        (gradient,) = torch.autograd.grad(filtered.sum(), made.values)
        assert (gradient[0] != 0).any()
        assert (gradient[1:] != 0).any() != one_for_all


def test_genomes_are_cut_and_joined() -> None:
    pool = Pool("thesis")
    made = genomes(pool, 6, 3, 0)
    joined = Genomes.cat([made[:2], made[2:]])
    assert torch.equal(joined.kinds, made.kinds)
    assert torch.equal(joined.values, made.values)
    assert len(made) == len(list(made)) == 6
    mask = torch.rand(6, 3, generator=generator(0)) < 0.5
    mixed = made.where(mask, genomes(pool, 6, 3, 1))
    assert torch.equal(mixed.values[mask], made.values[mask])
    assert (mixed.values[~mask] != made.values[~mask]).all()


def test_pools() -> None:
    assert Pool("thesis").names == THESIS == ("clarendon", "gingham", "reyes", "juno", "lark")
    assert Pool("all").names == tuple(FILTERS)
    assert Pool("lark, juno").names == ("lark", "juno")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("jun", SpecError, "unknown filter 'jun'. Did you mean juno? 'foolscope filters' lists all."),
        ("juno,lark,juno", ParameterError, "agv: pool must name each filter once, got 'juno,lark,juno'."),
        ("", ParameterError, "agv: the pool is empty: name filters, such as juno,lark, or thesis, or all."),
        (
            "juno,,lark",
            ParameterError,
            "agv: the pool has an empty name: 'juno,,lark': name filters, such as juno,lark, or thesis, or all.",
        ),
    ],
)
def test_bad_pools(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        Pool(text)


def test_filters_that_would_color_gray_images_are_refused() -> None:
    pool = Pool("thesis")
    genome = Genomes(torch.tensor([0]), torch.full((1, 2), 0.5, dtype=torch.float64))
    message = "clarendon would color gray images; gingham, juno, lark, stinson do not."
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        pool.apply(genome, colors(2, shape=(1, 4, 4)))


def test_amounts_are_rounded_so_that_a_chain_can_be_typed() -> None:
    pool = Pool("thesis")
    genome = pool.random(torch.rand(5, 3, generator=generator(1)))
    chain = pool.chain(genome)
    amounts = [amount for item in chain.filters for amount in (item.strength, item.intensity)]
    assert amounts == [round(amount, 4) for amount in amounts]
    assert parse_chain(chain.spec()) == chain
    images = torch.rand(2, 3, 5, 5, generator=generator(0))
    assert torch.equal(pool.apply(genome, images), chain(images))
