"""Tiny models with random weights of six families, written as their makers publish them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
import transformers as tf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def words(image: str, *others: str, **options: str) -> tf.PreTrainedTokenizerFast:
    """A byte-level tokenizer with a family's special tokens; "yes" and "no" are words of it."""
    special = ["<pad>", "<s>", "</s>", image, *others]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(["yes no Yes No yes no Yes No"] * 3, trainer)
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=options,
    )


def template(image: str) -> str:
    return (
        "{% for message in messages %}{{ '<s>' + message['role'] }}: "
        "{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}" + image + "{% else %}{{ part['text'] }}{% endif %}"
        "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ ' assistant:' }}{% endif %}"
    )


def save(model: torch.nn.Module, processor: object, folder: Path) -> None:
    model.generation_config = tf.GenerationConfig(
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        do_sample=True,  # as many models come: the namer has to switch it off
        temperature=0.7,
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def llava(folder: Path) -> None:
    tokens = words("<image>", image_token="<image>")
    config = tf.LlavaConfig(
        vision_config=tf.CLIPVisionConfig(**VISION, image_size=32, patch_size=8),
        text_config=tf.LlamaConfig(**TEXT, vocab_size=len(tokens)),
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=16,
    )
    processor = tf.LlavaProcessor(
        image_processor=tf.CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
        tokenizer=tokens,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template("<image>"),
    )
    save(tf.LlavaForConditionalGeneration(config), processor, folder)


def llava_onevision(folder: Path) -> None:
    tokens = words("<image>", "<video>", image_token="<image>", video_token="<video>")
    config = tf.LlavaOnevisionConfig(
        vision_config=tf.SiglipVisionConfig(
            **VISION, image_size=28, patch_size=14, vision_use_head=False
        ),
        text_config=tf.Qwen2Config(**TEXT, vocab_size=len(tokens)),
        image_token_index=tokens.convert_tokens_to_ids("<image>"),
        video_token_index=tokens.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[28, 28], [28, 56], [56, 28]],
        vision_aspect_ratio="anyres_max_9",
    )
    processor = tf.LlavaOnevisionProcessor(
        image_processor=tf.LlavaOnevisionImageProcessor(
            size={"height": 28, "width": 28}, image_grid_pinpoints=[[28, 28], [28, 56], [56, 28]]
        ),
        tokenizer=tokens,
        video_processor=tf.LlavaOnevisionVideoProcessor(size={"height": 28, "width": 28}),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=template("<image>"),
    )
    save(tf.LlavaOnevisionForConditionalGeneration(config), processor, folder)


def qwen2_vl(folder: Path) -> None:
    names = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokens = words(*names, image_token=names[2], video_token=names[3])
    ids = dict(zip(names, tokens.convert_tokens_to_ids(list(names)), strict=True))
    config = tf.Qwen2VLConfig(
        text_config={
            **TEXT,
            "vocab_size": len(tokens),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [1, 1, 2],
            },
        },
        vision_config={
            "embed_dim": 32,
            "hidden_size": 32,
            "depth": 2,
            "num_heads": 4,
            "mlp_ratio": 2,
            "patch_size": 14,
            "spatial_merge_size": 2,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    processor = tf.Qwen2VLProcessor(
        image_processor=tf.Qwen2VLImageProcessor(
            size={"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
        ),
        tokenizer=tokens,
        video_processor=tf.Qwen2VLVideoProcessor(),
        chat_template=template("<|vision_start|><|image_pad|><|vision_end|>"),
    )
    save(tf.Qwen2VLForConditionalGeneration(config), processor, folder)


def qwen3_vl(folder: Path) -> None:
    """The family of the default model: sides of 32 px a token, features of three depths."""
    names = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokens = words(*names, image_token=names[2], video_token=names[3])
    ids = dict(zip(names, tokens.convert_tokens_to_ids(list(names)), strict=True))
    config = tf.Qwen3VLConfig(
        text_config={
            **TEXT,
            "head_dim": 8,
            "vocab_size": len(tokens),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_interleaved": True,
                "mrope_section": [2, 1, 1],
            },
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 4,
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    processor = tf.Qwen3VLProcessor(
        image_processor=tf.Qwen2VLImageProcessor(
            size={"shortest_edge": 32 * 32, "longest_edge": 64 * 64},
            patch_size=16,
            image_mean=[0.5, 0.5, 0.5],
            image_std=[0.5, 0.5, 0.5],
        ),
        tokenizer=tokens,
        video_processor=tf.Qwen3VLVideoProcessor(),
        chat_template=template("<|vision_start|><|image_pad|><|vision_end|>"),
    )
    save(tf.Qwen3VLForConditionalGeneration(config), processor, folder)


def smolvlm(folder: Path) -> None:
    names = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
    grid = [f"<row_{row}_col_{column}>" for row in range(1, 3) for column in range(1, 3)]
    tokens = words(
        *names,
        *grid,
        image_token=names[0],
        fake_image_token=names[1],
        global_image_token=names[2],
        end_of_utterance_token=names[3],
    )
    config = tf.SmolVLMConfig(
        vision_config={**VISION, "image_size": 32, "patch_size": 8},
        text_config=tf.LlamaConfig(**TEXT, vocab_size=len(tokens)),
        image_token_id=tokens.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    processor = tf.SmolVLMProcessor(
        image_processor=tf.SmolVLMImageProcessor(
            size={"longest_edge": 32}, max_image_size={"longest_edge": 32}
        ),
        tokenizer=tokens,
        video_processor=tf.SmolVLMVideoProcessor(
            size={"longest_edge": 32},
            max_image_size={"longest_edge": 32},
            video_sampling={"fps": 1, "max_frames": 4, "video_size": {"longest_edge": 32}},
        ),
        image_seq_len=4,
        chat_template=template("<image>"),
    )
    save(tf.SmolVLMForConditionalGeneration(config), processor, folder)


def gemma3(folder: Path) -> None:
    names = ("<start_of_image>", "<end_of_image>", "<image_soft_token>")
    tokens = words(*names, boi_token=names[0], eoi_token=names[1], image_token=names[2])
    ids = tokens.convert_tokens_to_ids(list(names))
    config = tf.Gemma3Config(
        text_config={**TEXT, "vocab_size": len(tokens), "head_dim": 8, "sliding_window": 64},
        vision_config={**VISION, "image_size": 32, "patch_size": 8, "vision_use_head": False},
        mm_tokens_per_image=4,
        boi_token_index=ids[0],
        eoi_token_index=ids[1],
        image_token_index=ids[2],
    )
    processor = tf.Gemma3Processor(
        image_processor=tf.Gemma3ImageProcessor(size={"height": 32, "width": 32}),
        tokenizer=tokens,
        image_seq_length=4,
        chat_template=template("<start_of_image>"),
    )
    save(tf.Gemma3ForConditionalGeneration(config), processor, folder)


FAMILIES: Sequence[Callable[[Path], None]] = (
    llava, llava_onevision, qwen2_vl, qwen3_vl, smolvlm, gemma3,
)  # fmt: skip


@pytest.fixture(scope="session", params=FAMILIES, ids=lambda make: make.__name__)
def family(request, tmp_path_factory) -> str:
    """The folder of a model of each family in turn."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("family") / request.param.__name__
    request.param(folder)
    return str(folder)


@pytest.fixture
def plain_words() -> tf.PreTrainedTokenizerFast:
    """A tokenizer of its own for each test."""
    return words("<unused>")


@pytest.fixture(scope="session")
def llava_folder(tmp_path_factory) -> str:
    """The folder of a LLaVA."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "llava"
    llava(folder)
    return str(folder)
