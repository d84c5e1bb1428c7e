"""Models behind the chat-completions interface: over HTTP, and for files of questions."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from atlas import vlm

_ALONE = threading.Lock()


class Model:
    """Answers bodies of requests, one at a time, by what the network itself computes."""

    def __init__(self, model: Any = None) -> None:
        self.vlm = model or vlm.load(vlm.Loading(vlm.DEMO, max_tokens=60))
        self.name = self.vlm.id
        self.asked: list[dict[str, Any]] = []

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body["model"] == self.name
        [message] = body["messages"]
        *pictures, text = message["content"]
        menu = 0
        if "response_format" in body:
            schema = body["response_format"]["json_schema"]["schema"]
            menu = schema["properties"]["plan"]["items"]["items"]["maximum"]
        request = vlm.Request([_picture(part["image_url"]["url"]) for part in pictures],
                              text["text"], menu)  # fmt: skip
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        with _ALONE, torch.inference_mode():
            self.asked.append(body)
            if body.get("logprobs"):
                assert body["max_tokens"] == 1
                inputs = self.vlm._inputs([request])
                told = self.vlm._model(**inputs).logits[0, -1].float().log_softmax(0)
                best = told.topk(body["top_logprobs"])
                decode = self.vlm._processor.tokenizer.decode
                listed = [
                    {"token": decode([int(token)]), "logprob": float(value)}
                    for value, token in zip(*best, strict=True)
                ]
                content = listed[0]["token"]
                choice["logprobs"] = {"content": [{**listed[0], "top_logprobs": listed}]}
            else:
                assert body["temperature"] == 0
                assert body["max_tokens"] == self.vlm.decoding["max_tokens"]
                content = self.vlm.ask([request])[0]
        choice["finish_reason"] = "length" if isinstance(content, vlm.CutOff) else "stop"
        choice["message"] = {"role": "assistant", "content": str(content)}
        return {"object": "chat.completion", "model": self.name, "choices": [choice],
                "system_fingerprint": "fp-1"}  # fmt: skip

    def answer(self, questions: Path, answers: Path) -> None:
        """Answer a file of questions, as `vllm run-batch` does."""
        with answers.open("w") as file:
            for line in questions.read_text().splitlines():
                question = json.loads(line)
                assert (question["method"], question["url"]) == ("POST", "/v1/chat/completions")
                response = {"status_code": 200, "body": self.complete(question["body"])}
                answer = {"id": "1", "custom_id": question["custom_id"], "response": response,
                          "error": None}  # fmt: skip
                file.write(json.dumps(answer) + "\n")


def _picture(url: str) -> Image.Image:
    kind, _, data = url.partition(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@contextmanager
def serving(model: Model) -> Iterator[str]:
    """Serve the model over HTTP; yield what a recipe calls it."""
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"data": [{"id": model.name, "owned_by": "tests", "max_model_len": 512}]}

    @app.post("/v1/chat/completions")
    def complete(body: dict[str, Any]) -> dict[str, Any]:
        return model.complete(body)

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    [port] = [s.getsockname()[1] for one in server.servers for s in one.sockets]
    try:
        yield f"server:http://127.0.0.1:{port}/v1"
    finally:
        server.should_exit = True
        thread.join()
