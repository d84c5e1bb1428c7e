"""Language models without vision, asked as those with vision are."""

from collections.abc import Mapping, Sequence
from typing import Any

from atlas import vlm
from atlas.vlm import DEMO, SERVER, Loading, TransformersVlm, Vlm, called


class TextProcessor:
    """What `TransformersVlm` needs of a processor, made of a tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def apply_chat_template(
        self, conversations: Sequence[Sequence[Mapping[str, Any]]], **_: Any
    ) -> Any:
        """Return the tokens of conversations; without a template, of their texts alone."""
        from transformers import BatchFeature  # noqa: PLC0415 (slow to import)

        texts = [self._text(conversation) for conversation in conversations]
        bare = self.tokenizer.chat_template is None  # a template writes its own first token
        found = self.tokenizer(
            texts, return_tensors="pt", padding=True, add_special_tokens=bare,
            return_token_type_ids=False,
        )  # fmt: skip
        return BatchFeature(dict(found))

    def _text(self, conversation: Sequence[Mapping[str, Any]]) -> str:
        messages = [
            {"role": said["role"], "content": "".join(part["text"] for part in said["content"])}
            for said in conversation
        ]
        if self.tokenizer.chat_template is None:
            return "\n".join(message["content"] for message in messages)
        text: str = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
        return text


def load(loading: Loading) -> Vlm:
    """Load a language model, with vision or without, or reach one at a server.

    Raises
    ------
    UserError
        It is not there, or is no language model.
    """
    if not _without_vision(loading):
        return vlm.load(loading)
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    options: dict[str, Any] = {"trust_remote_code": False}
    options |= {"revision": loading.revision} if loading.revision else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(loading.name, **options)
        model = AutoModelForCausalLM.from_pretrained(
            loading.name, dtype=loading.dtype, use_safetensors=True, **options
        )
    except Exception as error:  # it raises anything on what it does not understand
        raise loading.missing(error) from error
    model.eval()
    return TransformersVlm(model, TextProcessor(tokenizer), called(loading.name), loading)


def _without_vision(loading: Loading) -> bool:
    """Return whether a name stands for a model that takes texts only."""
    if loading.name == DEMO or loading.name.startswith(SERVER):
        return False  # a server takes texts alone from any model
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig  # noqa: PLC0415
    from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING as SEEING  # noqa: PLC0415

    try:
        kind = type(AutoConfig.from_pretrained(loading.name, trust_remote_code=False))
    except Exception:
        return False
    return kind in MODEL_FOR_CAUSAL_LM_MAPPING and kind not in SEEING
