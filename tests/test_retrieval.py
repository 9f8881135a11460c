"""Retrieval: what is found for a question, in train rows and documents, the same every time and never itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from harness import models
from harness.data import DataSpec, load
from harness.errors import ModelError, UsageError
from harness.models import LocalModel
from harness.prompts import PromptSpec
from harness.prompts.space import looked_up
from harness.prompts.spec import RetrievalSpec
from harness.records import Item, Message, Retrieval
from harness.retrieval import Shelves, read_passages
from harness.retrieval.lexical import Bm25, words

ROWS = {
    "card": ("My card has not arrived in the post", "card_arrival"),
    "pin": ("How do I change the PIN of my card?", "change_pin"),
    "rate": ("Which exchange rate do you use abroad?", "exchange_rate"),
    "top": ("The top-up of my account failed", "top_up_failed"),
}


def row(id: str, asked: str, target: str = "?", system: str = "") -> Item:
    turns = [Message(role="system", content=system)] if system else []
    return Item(id=id, messages=(*turns, Message(role="user", content=asked)), target=target)


def train() -> list[Item]:
    return [row(id, asked, target) for id, (asked, target) in ROWS.items()]


def use(shelves: Shelves, use: str = "demonstrations", count: int = 2, source: str = "train") -> Retrieval:
    corpus = shelves.corpus("train" if source == "train" else "documents")
    return Retrieval.model_validate({"source": source, "use": use, "count": count, "corpus": corpus})


def ids(shelves: Shelves, asked: str | Item, count: int = 2, use_as: str = "demonstrations") -> tuple[str, ...]:
    asked = row("dev", asked) if isinstance(asked, str) else asked
    return shelves.look_up(use(shelves, use_as, count), [asked])[0].ids


def test_the_nearest_demonstration_stands_last() -> None:
    shelves = Shelves(train())
    (found,) = shelves.look_up(use(shelves), [row("dev", "change my pin")])
    assert found.ids == ("pin", "card") or found.ids == ("pin", "top")
    assert [turn.content for turn in found.demonstrations[-1]] == list(ROWS["pin"])
    assert found.context == ""


def test_a_question_without_a_shared_word_still_gets_demonstrations_but_no_context() -> None:
    shelves = Shelves(train())
    assert len(ids(shelves, "Guten Tag", count=3)) == 3
    assert ids(shelves, "exchange", count=3)[0] == "rate"
    assert len(ids(shelves, "exchange", count=3)) == 3
    assert ids(shelves, "exchange", count=3, use_as="context") == ("rate",)
    assert ids(shelves, "Guten Tag", use_as="context") == ids(shelves, "?!", use_as="context") == ()


def test_rows_as_context_are_questions_with_their_answers_the_nearest_last() -> None:
    shelves = Shelves(train())
    (found,) = shelves.look_up(use(shelves, "context"), [row("dev", "My card has not arrived, change it?")])
    assert found.ids == ("card", "pin")
    assert found.context == (
        "How do I change the PIN of my card? -> change_pin\nMy card has not arrived in the post -> card_arrival"
    )


def test_a_conversation_as_context_names_who_speaks() -> None:
    turns = tuple(Message(role=r, content=c) for r, c in [("user", "Card?"), ("assistant", "Lost?"), ("user", "Yes")])
    shelves = Shelves([Item(id="1", messages=turns, target="lost_card")])
    (found,) = shelves.look_up(use(shelves, "context"), [row("dev", "card")])
    assert found.context == "user: Card?\nassistant: Lost?\nuser: Yes -> lost_card"


def test_an_item_is_never_found_for_itself() -> None:
    shelves = Shelves([*train(), row("copy", "how do i  change the pin of my CARD?", "change_pin")])
    for itself in ("pin", "copy"):
        found = ids(shelves, row(itself, *ROWS["pin"]), count=9)
        assert sorted(found) == ["card", "rate", "top"]
    assert sorted(ids(shelves, row("dev", *ROWS["pin"]), count=9)) == ["card", "rate", "top"]


@pytest.mark.parametrize("asked", ["how do I change the PIN of my card", "How do I change - the PIN - of my card?!"])
def test_punctuation_does_not_make_another_question(asked: str) -> None:
    assert sorted(ids(Shelves(train()), asked, count=9)) == ["card", "rate", "top"]


def test_a_question_without_a_letter_is_known_as_it_stands() -> None:
    shelves = Shelves([*train(), row("smile", ":-)"), row("frown", ":-(")])
    assert sorted(ids(shelves, ":-)", count=9)) == ["card", "frown", "pin", "rate", "top"]


def test_an_id_that_two_files_share_hides_no_row() -> None:
    assert "pin" in ids(Shelves(train()), row("pin", "My card?"), count=9)


def test_rows_that_ask_the_same_are_found_once() -> None:
    shelves = Shelves([*train(), *(row(f"again{n}", *ROWS["pin"]) for n in range(5))])
    found = ids(shelves, "change the pin", count=3)
    assert len(set(found) & {"pin", *(f"again{n}" for n in range(5))}) == 1


def test_system_text_is_not_searched_for() -> None:
    shelves = Shelves(train())
    assert ids(shelves, row("dev", "exchange", system="change the pin of my card"), 1) == ("rate",)


def test_the_order_of_the_rows_changes_neither_the_corpus_nor_what_is_found() -> None:
    rows = [row(str(n), f"word{n % 7} word{n % 5} word{n}", str(n)) for n in range(200)]
    there, back = Shelves(rows), Shelves(rows[::-1])
    asked = [row(f"dev{n}", f"word{n % 7} word{n % 3}") for n in range(50)]
    assert there.corpus("train") == back.corpus("train") != Shelves(rows[1:]).corpus("train")
    assert there.look_up(use(there, count=8), asked) == back.look_up(use(back, count=8), asked)


def test_what_is_found_does_not_depend_on_who_is_asked_with_it_or_again() -> None:
    rows = [row(str(n), f"word{n % 7} word{n % 5}x word{n}", str(n)) for n in range(600)]
    asked = [row(f"dev{n}", f"word{n % 7} word{n % 3}x word{n}") for n in range(300)]
    shelves = Shelves(rows)
    together = shelves.look_up(use(shelves), asked)
    fresh = Shelves(rows)
    assert [fresh.look_up(use(fresh), [item])[0] for item in asked[::-1]] == together[::-1]
    assert shelves.look_up(use(shelves), asked[::-1]) == together[::-1]


def test_what_is_found_does_not_depend_on_the_seed_of_hashes() -> None:
    script = (
        "from test_retrieval import Shelves, ids, row\n"
        "shelves = Shelves([row(str(n), f'a{n % 7} b{n % 5} c{n}') for n in range(99)])\n"
        "print([ids(shelves, f'b{n} a{n} c{n}') for n in (1, 2, 3)])"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=Path(__file__).parent,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_another_corpus_than_the_prompts_is_refused() -> None:
    shelves, other = Shelves(train()), Shelves(train()[1:])
    with pytest.raises(UsageError, match=f"{other.corpus('train')[:8]}, and here are {shelves.corpus('train')[:8]}"):
        shelves.look_up(use(other), [row("dev", "card")])


def test_looking_where_nothing_is_is_told() -> None:
    with pytest.raises(UsageError, match="no train rows"):
        Shelves([]).corpus("train")
    with pytest.raises(UsageError, match="documents: is not given"):
        Shelves(train()).corpus("documents")


def test_rows_without_any_word_can_still_be_looked_up() -> None:
    shelves = Shelves([row("1", "!"), row("2", "?!")])
    assert sorted(ids(shelves, "...")) == ["1", "2"]
    assert ids(shelves, "...", use_as="context") == ()


def test_words_are_folded_and_scripts_without_spaces_fall_into_letters() -> None:
    assert words("Ｔｈｅ STRASSE, straße—don't") == ["the", "strasse", "strasse", "don", "t"]
    assert words("銀行カード PIN変更") == [*"銀行カード", "pin", *"変更"]
    assert words("카드 분실") == ["카드", "분실"]


def test_scores_are_those_of_bm25s(shared_data: Path) -> None:
    import bm25s

    rows, asked = real(shared_data)
    texts = [item.messages[-1].content for item in rows]
    peer = bm25s.BM25(dtype="float64")
    peer.index([words(text) for text in texts], show_progress=False)
    for item, scores in zip(asked, Bm25(texts).scores([item.messages[-1].content for item in asked]), strict=True):
        np.testing.assert_allclose(scores, peer.get_scores(words(item.messages[-1].content)), rtol=1e-9, atol=1e-12)


def test_on_real_messages_the_nearest_row_mostly_has_the_right_answer(shared_data: Path) -> None:
    rows, asked = real(shared_data)
    shelves, answers = Shelves(rows), {item.id: item.target for item in rows}
    found = shelves.look_up(use(shelves, count=1), asked)
    right = sum(answers[one.ids[0]] == item.target for one, item in zip(found, asked, strict=True))
    assert right > len(asked) / 2


def real(shared_data: Path) -> tuple[Sequence[Item], Sequence[Item]]:
    folder = shared_data / "tasks" / "banking12_intent"
    files = {"train": "train.jsonl", "dev": "validation.jsonl", "test": "test.jsonl"}
    data = load(DataSpec(train=files["train"], dev=files["dev"], test=files["test"]), folder)
    return data.train.to_learn_from(), data.dev.to_learn_from()


def folder(at: Path, **files: str) -> Path:
    for name, text in files.items():
        path = at / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return at


def test_passages_of_documents_are_found_with_their_file(tmp_path: Path) -> None:
    texts = {
        "fees_md": "# Fees\n\nAn exchange costs 1 %.",
        "deep__cards_txt": "Cards arrive in five days.",
        "x_pdf": "card",
    }
    shelves = Shelves(train(), folder(tmp_path, **texts))
    retrieval = use(shelves, "context", 1, "documents")
    found = shelves.look_up(retrieval, [row("dev", "When do cards arrive?"), row("dev2", "exchange fees")])
    assert [one.ids for one in found] == [("deep/cards.txt#1",), ("fees.md#1",)]
    assert [one.context for one in found] == [
        "[deep/cards.txt]\nCards arrive in five days.",
        "[fees.md]\n# Fees\n\nAn exchange costs 1 %.",
    ]
    with pytest.raises(UsageError, match="documents cannot be demonstrations"):
        shelves.look_up(retrieval.model_copy(update={"use": "demonstrations"}), [row("dev", "card")])


def test_names_texts_and_passage_length_make_another_corpus(tmp_path: Path) -> None:
    def corpus(at: str, words: int = 120, **files: str) -> str:
        return Shelves([], folder(tmp_path / at, **files), words).corpus("documents")

    same = [corpus("a", one_txt="One.", two_txt="Two."), corpus("b", two_txt="Two.", one_txt="One.")]
    others = [
        corpus("c", one_txt="One.", three_txt="Two."),
        corpus("d", one_txt="One.", two_txt="Too."),
        corpus("e", 100, one_txt="One.", two_txt="Two."),
    ]
    assert len({*same}) == 1
    assert len({*same, *others}) == 4


def test_paragraphs_are_packed_whole_and_headings_stay_with_their_text(tmp_path: Path) -> None:
    text = "\n\n".join(["# Cards", "a " * 8, "b " * 8, "## Fees", "c " * 8])
    passages = read_passages(folder(tmp_path, text_md=text), words=20)
    assert [(passage.number, passage.text.split()) for passage in passages] == [
        (1, ["#", "Cards", *"aaaaaaaabbbbbbbb"]),
        (2, ["##", "Fees", *"cccccccc"]),
    ]


@pytest.mark.parametrize("length", [24, 25, 44, 45, 64, 100, 241])
def test_a_long_paragraph_is_cut_into_passages_that_overlap_by_a_sixth(tmp_path: Path, length: int) -> None:
    all_words = [f"w{n}" for n in range(length)]
    passages = read_passages(folder(tmp_path, long_txt=" ".join(all_words)), words=24)
    pieces = [passage.text.split() for passage in passages]
    assert all(len(piece) == 24 for piece in pieces[:-1])
    assert len(pieces[-1]) <= 24
    assert all(before[-4:] == after[:4] for before, after in pairwise(pieces))
    assert [pieces[0][0], *(word for piece in pieces for word in piece[4:])] == [all_words[0], *all_words[4:]]
    assert len(pieces) == 1 or len(pieces[-1]) > 4


def test_all_faults_of_a_folder_are_told_at_once(tmp_path: Path) -> None:
    at = folder(tmp_path / "docs", good_txt="Good.")
    (at / "latin.txt").write_bytes("Gebühr".encode("latin-1"))
    folder(tmp_path, secret_txt="secret")
    (at / "out.txt").symlink_to(tmp_path / "secret.txt")
    (at / "up").symlink_to(tmp_path)
    (at / "gone.md").symlink_to(at / "nowhere.md")
    with pytest.raises(UsageError) as fault:
        read_passages(at, 120)
    told = [(problem.where.split(": ")[1], problem.what) for problem in fault.value.problems]
    assert sorted(told) == [
        ("gone.md", "cannot be read: No such file or directory"),
        ("latin.txt", "is not UTF-8 (byte 3)"),
        ("out.txt", "is a link that leads out of the folder"),
        ("up", "is a link that leads out of the folder"),
    ]


def test_links_inside_the_folder_and_hidden_files_do_no_harm(tmp_path: Path) -> None:
    at = folder(tmp_path, one_txt="\ufeffOne.\r\n")
    folder(at / ".git", two_txt="Two.")
    (at / ".hidden.txt").write_bytes(b"\xff")
    (at / "again.txt").symlink_to(at / "one.txt")
    (at / "loop").symlink_to(at)
    assert [(p.file, p.text) for p in read_passages(at, 120)] == [("again.txt", "One."), ("one.txt", "One.")]


def test_a_folder_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere is not a folder"):
        Shelves(train(), tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"holds none. Read are .md and .txt"):
        Shelves(train(), tmp_path)
    with pytest.raises(UsageError, match="holds 1 files with these endings, and no text"):
        Shelves(train(), folder(tmp_path, empty_txt=" \n\n"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere", r"prompt.retrieval.by: 'nowhere' is not a folder"),
        ("package:nothing", "prompt.retrieval.by: unknown package"),
        ("some/embedder", "prompt.retrieval.by: cannot be fetched.*HF_HUB_OFFLINE"),
    ],
)
def test_an_embedding_model_that_cannot_be_had_is_told(
    name: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sentence_transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    shelves = Shelves(train(), near=tmp_path)
    with pytest.raises(ModelError, match=told):
        shelves.look_up(use(shelves).model_copy(update={"by": name}), train())


def test_an_embedding_model_with_a_pickle_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "2_Dense").mkdir()
    (tmp_path / "2_Dense" / "pytorch_model.bin").write_bytes(b"")
    shelves = Shelves(train(), near=tmp_path.parent)
    by = use(shelves).model_copy(update={"by": tmp_path.name})
    with pytest.raises(ModelError, match=r"has pickled weights \(2_Dense/pytorch_model.bin\)"):
        shelves.look_up(by, train())
    (tmp_path / "2_Dense" / "pytorch_model.bin").unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        shelves.look_up(by, train())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers folder: a small random BERT that knows the words of the rows and sees nine tokens."""
    pytest.importorskip("sentence_transformers")
    with models.quiet():
        import torch
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
        from tokenizers import Tokenizer, normalizers, pre_tokenizers
        from tokenizers import models as kinds
        from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

        known = ["[PAD]", "[UNK]", *dict.fromkeys(word for asked, _ in ROWS.values() for word in words(asked))]
        tokenizer = Tokenizer(kinds.WordLevel({word: at for at, word in enumerate(known)}, unk_token="[UNK]"))
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
        body, whole = tmp_path_factory.mktemp("body"), tmp_path_factory.mktemp("whole")
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(body)
        torch.manual_seed(0)
        BertModel(
            BertConfig(
                vocab_size=len(known),
                hidden_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=64,
            )
        ).save_pretrained(body)
        parts = Transformer(str(body), max_seq_length=9), Pooling(32, "mean")
        SentenceTransformer(modules=list(parts), device="cpu").save(str(whole), create_model_card=False)
    return whole


def test_a_folder_of_sentence_transformers_ranks_passages_and_rows(tiny: Path, tmp_path: Path) -> None:
    told: list[str] = []
    at = folder(tmp_path, rate_md=ROWS["rate"][0], top_md="The top-up of my account failed")
    shelves = Shelves(train(), at, near=tiny.parent, note=told.append)
    by = {"by": tiny.name}
    for source, first in (("train", ("rate", "top")), ("documents", ("rate.md#1", "top.md#1"))):
        retrieval = use(shelves, "context", 9, source).model_copy(update=by)
        found = shelves.look_up(retrieval, [row("1", "which exchange rate"), row("2", "my top up failed")])
        assert tuple(one.ids[0] for one in found) == first
        assert len(found[0].ids) == len(ROWS) if source == "train" else 2
    assert told == [
        f"embedding 4 texts with {tiny.name}; 1 of 4 are longer than the 9 tokens that it sees",
        f"embedding 2 texts with {tiny.name}",
    ]


def test_similarities_do_not_depend_on_what_is_embedded_together(tiny: Path) -> None:
    rows = [row(str(n), f"my card {'post ' * (n % 4)} rate {n % 6}") for n in range(40)]
    one, other = Shelves(rows), Shelves(rows[::-1])
    by = use(one, count=5).model_copy(update={"by": str(tiny)})
    asked = [row("a", "my card"), row("b", "post rate failed my account abroad"), row("c", "")]
    assert one.look_up(by, asked) == [other.look_up(by, [item])[0] for item in asked]


def test_a_prompt_names_its_embedding_model_by_content(tiny: Path, tmp_path: Path) -> None:
    at = tmp_path / "embedder"
    shutil.copytree(tiny, at)
    spec = PromptSpec(retrieval=RetrievalSpec(by=str(at)))
    made = looked_up(spec, Shelves(train()), "train", "demonstrations", 1)
    assert made.embedder == Shelves(train()).embedder(str(tiny))
    assert looked_up(PromptSpec(), Shelves(train()), "train", "demonstrations", 1).embedder is None
    weights = next(at.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(UsageError, match=rf"prompt.retrieval.by: was {made.embedder[:8]} when the prompt was made"):
        Shelves(train()).look_up(made, train())


def test_a_missing_library_is_told_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.retrieval.embedding.find_spec", lambda name: None)
    shelves = Shelves(train())
    with pytest.raises(UsageError, match=r"needs sentence-transformers. pip install 'finetune-harness\[retrieval\]'"):
        shelves.look_up(use(shelves).model_copy(update={"by": "some/embedder"}), train())


@pytest.mark.model
def test_the_nearest_row_by_an_embedding_model(small_model: LocalModel, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sentence_transformers")
    told: list[str] = []
    shelves = Shelves(train(), note=told.append)
    by = use(shelves, "context", 3).model_copy(update={"by": str(small_model.path)})
    asked = [row("dev", "My card did not arrive by post"), row("dev2", "What exchange rate is used abroad?")]
    together = shelves.look_up(by, asked)
    assert [found.ids[0] for found in together] == ["card", "rate"]
    assert [len(found.ids) for found in together] == [3, 3]
    assert [shelves.look_up(by.model_copy(update={"count": 2}), [item])[0].ids for item in asked] == [
        found.ids[:2] for found in together
    ]
    assert len(told) == 1
    assert capfd.readouterr() == ("", "")
