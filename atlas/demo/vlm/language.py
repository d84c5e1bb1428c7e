"""The whole LLaVA of the demo: tokenizer, processor, language model, and what it learns from."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from atlas import prompts
from atlas.demo.vlm import tower
from atlas.demo.vlm.crops import KINDS, TILE
from atlas.demo.vlm.sheets import answer, concept_name
from atlas.demo.world import ATTRIBUTES

SPECIAL = ("<pad>", "<s>", "</s>", "<image>")
PAD, BEGIN, END, IMAGE = range(4)

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% endif %}"
    "{% endfor %}{{ '\\n' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% endif %}{% endfor %}{{ '\\n' }}"
    "{% else %}"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)
"""Pictures, a line break, the question, a line break, the answer."""

IGNORED = -100
"""Goal of tokens that are not learnt."""

_VOCABULARY = 700
_TEXT = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
}


def ask_shared(references: int) -> str:
    """Return the question of naming, as `atlas name` asks it."""
    return prompts.naming("brief", "dimmed", "separate", references, 0).text


ASK_SHOWN = "What does this patch show?"
"""The question of the first lessons; nothing asks it later."""


def ask_fits(name: str) -> str:
    """Return the question of detection, as `atlas score` asks it."""
    return prompts.fitting("fits-brief", "dimmed", name).text


def tokenizer() -> PreTrainedTokenizerFast:
    """Learn a vocabulary from all questions and answers; any other text falls back to bytes."""
    columns = [[None, *ATTRIBUTES[kind]] for kind in KINDS]
    concepts = [
        {kind: value for kind, value in zip(KINDS, values, strict=True) if value}
        for values in product(*columns)
    ]
    texts = [answer(concept, purity) for concept in concepts for purity in (0.8, 0.9, 1.0)]
    texts += [ask_fits(name) for name in map(concept_name, concepts) if name]
    texts += [f"{ASK_SHOWN} {name}" for name in map(concept_name, concepts) if name]
    texts += [ask_shared(count) for count in range(1, 17) for _ in range(50)] + ["yes", "no"] * 500
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<s>",  # noqa: S106 (a token of text)
        eos_token="</s>",  # noqa: S106
        pad_token="<pad>",  # noqa: S106
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
        model_max_length=_TEXT["max_position_embeddings"],
    )


def processor(words: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Return what turns pictures and a conversation into the model's input."""
    images = CLIPImageProcessor(
        size={"height": TILE, "width": TILE},
        do_center_crop=False,
        image_mean=[tower.MEAN] * 3,
        image_std=[tower.STD] * 3,
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=words,
        patch_size=tower.PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )


def model(vocabulary: int) -> LlavaForConditionalGeneration:
    """Return the LLaVA with random weights."""
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**tower.CONFIG),
        text_config=LlamaConfig(
            vocab_size=vocabulary,
            tie_word_embeddings=True,
            initializer_range=0.05,
            pad_token_id=PAD,
            bos_token_id=BEGIN,
            eos_token_id=END,
            **_TEXT,
        ),
        image_token_index=IMAGE,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(TILE // tower.PATCH) ** 2,
        tie_word_embeddings=True,
    )
    made = LlavaForConditionalGeneration(config)
    made.generation_config = GenerationConfig(
        pad_token_id=PAD, bos_token_id=BEGIN, eos_token_id=END
    )
    return made


@dataclass(frozen=True)
class Exercise:
    """Pictures, a question and its answer."""

    rows: Sequence[int]  # of the bank of patches
    question: str
    answer: str


def loss(
    llava: LlavaForConditionalGeneration,
    words: PreTrainedTokenizerFast,
    features: Tensor,
    exercises: Sequence[Exercise],
) -> Tensor:
    """Return the cross entropy of the answers, from features of the frozen tower.

    Parameters
    ----------
    llava, words
        The model and its tokenizer.
    features : Tensor
        (patches of the bank, 36, width), what `Tower.tokens` returns.
    exercises : sequence of Exercise
        With equally many pictures each.
    """
    logits, goal = _predict_answers(llava, words, features, exercises)
    learnt = goal != IGNORED
    return F.cross_entropy(logits[learnt], goal[learnt])


def alignment(
    llava: LlavaForConditionalGeneration,
    words: PreTrainedTokenizerFast,
    features: Tensor,
    values: Tensor,
) -> Tensor:
    """Return how badly what is seen lies along the words for it.

    Parameters
    ----------
    llava, words
        The model and its tokenizer.
    features : Tensor
        (n, 36, width), what the tower sees in n patches.
    values : Tensor
        int64 (n, 4), the number of each of `KINDS`' values; -1 where it is not shown.

    Notes
    -----
    A value counts as seen as strongly as the projected token that lies most along its word, and
    should be seen where it is shown. Questions about a word are then learnt soon: the word has
    only to look for what is like itself.
    """
    tokens = [
        words.encode(f" {v}", add_special_tokens=False)[0] for k in KINDS for v in ATTRIBUTES[k]
    ]
    said = llava.get_input_embeddings()(torch.tensor(tokens))
    visual = llava.model.multi_modal_projector(features.float())
    seen = (visual @ said.T / said.shape[1] ** 0.5).amax(1)
    shown = [
        F.one_hot(values[:, column] + 1, len(ATTRIBUTES[kind]) + 1)[:, 1:]
        for column, kind in enumerate(KINDS)
    ]
    return F.binary_cross_entropy_with_logits(seen, torch.cat(shown, 1).float())


@torch.inference_mode()
def right(
    llava: LlavaForConditionalGeneration,
    words: PreTrainedTokenizerFast,
    features: Tensor,
    exercises: Sequence[Exercise],
    tokens: int,
) -> list[bool]:
    """Return for each answer whether its first `tokens` tokens are what the model would say."""
    logits, goal = _predict_answers(llava, words, features, exercises)
    counted = (goal != IGNORED) & ((goal != IGNORED).cumsum(1) <= tokens)
    return ((logits.argmax(2) == goal) | ~counted).all(1).tolist()


def _predict_answers(
    llava: LlavaForConditionalGeneration,
    words: PreTrainedTokenizerFast,
    features: Tensor,
    exercises: Sequence[Exercise],
) -> tuple[Tensor, Tensor]:
    """Return the logits of each token of question and answer, and the tokens of the answers."""
    rows = torch.tensor(np.stack([exercise.rows for exercise in exercises]))
    visual = llava.model.multi_modal_projector(features[rows.flatten()].float())
    visual = visual.unflatten(0, rows.shape).flatten(1, 2)  # (exercises, pictures * 36, hidden)
    texts, goals = [], []
    for exercise in exercises:
        asked = words.encode(f"\n{exercise.question}\n", add_special_tokens=False)
        answer = [*words.encode(exercise.answer, add_special_tokens=False), END]
        texts.append(torch.tensor(asked + answer))
        goals.append(torch.tensor([IGNORED] * len(asked) + answer))
    text = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=PAD)
    goal = torch.nn.utils.rnn.pad_sequence(goals, batch_first=True, padding_value=IGNORED)
    embed = llava.get_input_embeddings()
    begin = embed(torch.full((len(rows), 1), BEGIN))
    hidden = llava.model.language_model(
        inputs_embeds=torch.cat([begin, visual, embed(text)], 1)  # what is padded is at the end
    ).last_hidden_state
    # The state before each token of the text predicts it.
    return llava.lm_head(hidden[:, -text.shape[1] - 1 : -1]), goal


def save(llava: LlavaForConditionalGeneration, made: LlavaProcessor, folder: Path) -> None:
    """Write what `AutoModelForImageTextToText` and `AutoProcessor` load."""
    llava.save_pretrained(folder)
    made.save_pretrained(folder)
