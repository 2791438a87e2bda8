"""Models: the contract, the zoo, and what runs and trains them."""

from foolscope.models.cards import Card, shipped
from foolscope.models.classifier import Classifier, ModelInfo, Task, attacked, describe
from foolscope.models.model_spec import Model, Status
from foolscope.models.zoo import MODELS, load_model, status

__all__ = [
    "MODELS",
    "Card",
    "Classifier",
    "Model",
    "ModelInfo",
    "Status",
    "Task",
    "attacked",
    "describe",
    "load_model",
    "shipped",
    "status",
]
