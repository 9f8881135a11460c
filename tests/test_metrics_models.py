"""Metrics that load a model: embeddings and a classifier, both small and random, for the arithmetic around them."""

from pathlib import Path

import pytest

from harness import metrics, models
from harness.errors import ModelError, UsageError
from harness.evaluate import aided
from harness.models import LocalModel

pytestmark = pytest.mark.model


def test_without_embedding_models_meaning_is_not_measured() -> None:
    name = 'semantic_similarity(model="none")'
    with pytest.raises(UsageError, match="no embedding models are at hand"):
        metrics.score_text(name, "a", "b")
    assert metrics.score_text(name, "a", "a") == 1
    assert metrics.score_text(name, "", "a") == 0


def test_an_embedding_model_that_is_not_there_names_the_metric(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    with aided(False, None, near=tmp_path), pytest.raises(ModelError, match=r"^metric semantic_similarity: "):
        metrics.score_text('semantic_similarity(model="./gone")', "a", "b")


def test_likeness_of_meaning_by_a_real_model(small_model: LocalModel) -> None:
    pytest.importorskip("sentence_transformers")
    name = metrics.canonical(metrics.entry({"semantic_similarity": {"model": str(small_model.path)}}))
    with aided(False, None):
        near, far = (
            metrics.score_text(name, answer, "The cat sleeps on the sofa.")
            for answer in ("The cat is asleep on the sofa.", "SELECT 3 + 4;")
        )
        assert near is not None
        assert far is not None
        assert 0 <= far < near < 1
        assert metrics.score_text(name, "The cat is asleep on the sofa.", "The cat sleeps on the sofa.") == near


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of two labels that knows four words."""
    with models.quiet():
        import torch
        from tokenizers import Tokenizer, pre_tokenizers
        from tokenizers import models as kinds
        from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

        folder = tmp_path_factory.mktemp("classifier")
        words = {word: at for at, word in enumerate(["[PAD]", "[UNK]", "good", "bad"])}
        tokenizer = Tokenizer(kinds.WordLevel(words, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
        fast.save_pretrained(folder)
        torch.manual_seed(0)
        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        config = BertConfig(vocab_size=len(words), id2label={0: "fine", 1: "toxic"}, initializer_range=1.0, **small)
        BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_a_classifier_gives_the_share_that_is_not_its_label(classifier: Path) -> None:
    by = {
        label: metrics.canonical(metrics.entry({"non_toxic_by": {"model": str(classifier), "label": label}}))
        for label in ("toxic", "fine", "rude")
    }
    toxic, fine = (metrics.score_text(by[label], "good bad good", "x") for label in ("toxic", "fine"))
    assert toxic is not None
    assert fine is not None
    assert toxic + fine == pytest.approx(1)
    assert metrics.score_text(by["toxic"], "", "x") == 0
    assert "has no label 'rude': fine, toxic" in str(metrics.score(by["rude"], "good", "x").why)
