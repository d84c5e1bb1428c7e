"""A vision-language model in this process, through the generic interface of `transformers` only.

Whatever `AutoModelForImageTextToText` and `AutoProcessor` load and whose processor has a chat
template works: LLaVA, LLaVA-OneVision, Qwen-VL, SmolVLM, Gemma and others.
"""

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from atlas.errors import UserError, one_line
from atlas.vlm.asked import ANSWER, DEMO, CutOff, Loading, Request, called, decoding
from atlas.vlm.menu import Menus

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class TransformersVlm:
    """An image-text-to-text model that answers greedily."""

    def __init__(self, model: Any, processor: Any, name: str, loading: Loading) -> None:
        self.id = name
        self.revision: str | None = getattr(model.config, "_commit_hash", None)
        self.decoding = decoding(loading)
        self.facts: Mapping[str, Any] = {}
        self._model = model
        self._processor = processor
        self._batch = loading.batch_size
        tokenizer = processor.tokenizer
        tokenizer.padding_side = "left"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        yes, no = (self._first_tokens(word) for word in ("yes", "no"))
        self._yes, self._no = sorted(yes - no), sorted(no - yes)
        self._menus: Menus | None = None
        self._grammar = None
        if loading.constrained:
            self._grammar = _grammar(tokenizer, model.get_output_embeddings().weight.shape[0])

    def ask(self, requests: Sequence[Request]) -> list[str]:
        """Return the answer to each question, generated greedily."""
        return self._in_batches(requests, self._generate)

    def yes(self, requests: Sequence[Request]) -> list[float]:
        """Return P(yes) / (P(yes) + P(no)) of the first token of each answer."""
        return self._in_batches(requests, self._weigh)

    def _first_tokens(self, word: str) -> set[int]:
        """Return the tokens that an answer can begin with: yes, Yes, with and without a space."""
        encode = self._processor.tokenizer.encode
        forms = [before + form for before in ("", " ") for form in (word, word.capitalize())]
        firsts = {encode(form, add_special_tokens=False)[0] for form in forms}
        # A space that is a token of its own says nothing yet.
        return firsts - {encode(" ", add_special_tokens=False)[0]}

    def _in_batches(
        self, requests: Sequence[Request], run: Callable[[Sequence[Request]], list[_T]]
    ) -> list[_T]:
        """Run all requests; when memory runs out, halve the batch and go on."""
        results: list[_T] = []
        while len(results) < len(requests):
            part = requests[len(results) : len(results) + self._batch]
            try:
                results += run(part)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _out_of_memory(error) or len(part) == 1:
                    raise
                self._batch = math.ceil(len(part) / 2)
                _log.warning("out of memory: %d questions at a time from now on", self._batch)
            if torch.cuda.is_available() and not results:
                torch.cuda.empty_cache()
        return results

    def _inputs(self, requests: Sequence[Request]) -> Any:
        conversations = [
            [
                {
                    "role": "user",
                    "content": [
                        *({"type": "image", "image": image} for image in request.images),
                        {"type": "text", "text": request.text},
                    ],
                }
            ]
            for request in requests
        ]
        return self._processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self._model.device, dtype=self._model.dtype)

    def _generate(self, requests: Sequence[Request]) -> list[str]:
        inputs = self._inputs(requests)
        menus = {request.menu for request in requests}
        most = menus.pop() if len(menus) == 1 else 0
        constraint = [] if self._grammar is None or most else [self._grammar()]
        only = self._only(most, inputs["input_ids"].shape[1]) if most else None
        with torch.inference_mode():
            tokens = self._model.generate(
                **inputs,
                max_new_tokens=self.decoding["max_tokens"],
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                logits_processor=constraint,
                prefix_allowed_tokens_fn=only,
            )
        answers = tokens[:, inputs["input_ids"].shape[1] :]
        texts: list[str] = self._processor.tokenizer.batch_decode(answers, skip_special_tokens=True)
        ended = self._ended(answers)
        return [
            text.strip() if end else CutOff(text.strip())
            for text, end in zip(texts, ended, strict=True)
        ]

    def _only(self, most: int, prompt: int) -> Callable[[int, Tensor], list[int]] | None:
        """Return what lets only numbers of a menu through; None if the tokens are too few."""
        if self._menus is None:
            self._menus = Menus(self._processor.tokenizer)
        return self._menus.allowed(most, prompt) if self._menus.usable else None

    def _ended(self, answers: Tensor) -> list[bool]:
        """Return which answers ended of themselves: behind the end stand the end or padding."""
        if answers.shape[1] < self.decoding["max_tokens"]:
            return [True] * len(answers)
        ends = self._model.generation_config.eos_token_id
        ends = {ends} if isinstance(ends, int) else set(ends or ())
        ends |= {self._processor.tokenizer.eos_token_id, self._processor.tokenizer.pad_token_id}
        return [last in ends for last in answers[:, -1].tolist()]

    def _weigh(self, requests: Sequence[Request]) -> list[float]:
        with torch.inference_mode():
            logits: Tensor = self._model(**self._inputs(requests)).logits[:, -1].float()
        yes, no = (logits[:, tokens].logsumexp(1) for tokens in (self._yes, self._no))
        shares: list[float] = torch.sigmoid(yes - no).tolist()
        return shares


def load(loading: Loading) -> TransformersVlm:
    """Load a model from a local folder or from the Hub.

    Raises
    ------
    UserError
        It is not there, is no image-text-to-text model, has no chat template, or does not fit.
    """
    from transformers import (  # noqa: PLC0415 (slow to import)
        AutoModelForImageTextToText,
        AutoProcessor,
    )

    _check_device(loading.device)
    source = _source(loading.name)
    options: dict[str, Any] = {"trust_remote_code": False}  # without it, it asks the user
    options |= {"revision": loading.revision} if loading.revision else {}
    try:
        processor = AutoProcessor.from_pretrained(source, **options)
        model = AutoModelForImageTextToText.from_pretrained(
            source, dtype=loading.dtype, use_safetensors=True, **options, **_placing(loading)
        )
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{loading.name} does not fit into the GPU's memory: take a smaller model"
            + (', or --set naming.quantization="4bit"' if loading.setting == "naming.vlm" else "")
        ) from error
    except Exception as error:  # it raises anything on what it does not understand
        raise loading.missing(error) from error
    if getattr(processor, "chat_template", None) is None:
        raise UserError(
            f"{loading.name} has no chat template: take an instruction-tuned model "
            "(its name often ends in -Instruct or -it)"
        )
    model.eval()
    return TransformersVlm(model, processor, called(loading.name), loading)


def _grammar(tokenizer: Any, vocabulary: int) -> Callable[[], Any]:
    """Return what makes a processor of logits that lets through answers of the wanted form."""
    try:
        import xgrammar  # noqa: PLC0415 (an extra)
        from xgrammar.contrib.hf import LogitsProcessor  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            'naming.constrained needs an extra: pip install "concept-atlas[constrained]"'
        ) from error
    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary)
    compiled = xgrammar.GrammarCompiler(info).compile_json_schema(json.dumps(ANSWER))
    return lambda: LogitsProcessor(compiled)


def _source(name: str) -> str:
    if name != DEMO:
        return name
    from atlas.demo.vlm import FOLDER  # noqa: PLC0415

    return str(FOLDER)


def _check_device(name: str) -> None:
    """Refuse a device that is not there, or that cannot hold numbers."""
    if name == "auto":
        return
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"naming.device = {name!r} cannot be used here ({one_line(error)[:80]}): "
            "try auto or cpu"
        ) from error


def _placing(loading: Loading) -> dict[str, Any]:
    """Return where and how the weights are to lie."""
    options: dict[str, Any] = {}
    if loading.device != "auto":
        options["device_map"] = {"": loading.device}
    elif torch.cuda.is_available():
        options["device_map"] = "auto"
    if loading.quantization != "none":
        from transformers import BitsAndBytesConfig  # noqa: PLC0415

        options["quantization_config"] = BitsAndBytesConfig(
            **{f"load_in_{loading.quantization}": True}
        )
    return options


def _out_of_memory(error: BaseException) -> bool:
    texts = ("out of memory", "can't allocate memory", "not enough memory")
    kinds = (torch.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or any(text in str(error).lower() for text in texts)
