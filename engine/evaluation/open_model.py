"""The model of a job behind lm-eval's interface: our decoder, or HFLM on a Hugging Face folder."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from lmm_tui.data.chat.spans import ChatTemplate
from lmm_tui.data.chat.template import CHATML
from lmm_tui.data.chat.tokenizer_template import TokenizerTemplate
from lmm_tui.data.tokenizing.tokenizer import IM_END, IM_START, Tokenizer
from lmm_tui.engine.checkpoints.checked_weights import Weights
from lmm_tui.engine.checkpoints.placed_model import place
from lmm_tui.engine.checkpoints.weights import read_weights
from lmm_tui.engine.device import resolve_device
from lmm_tui.engine.evaluation.job import Backend, EvaluateError, Job
from lmm_tui.engine.library_import import import_quietly


def open_model(job: Job) -> Any:
    """An lm_eval.api.model.LM. Raises LmmError if the model cannot be used."""
    return _open_folder(job) if job.backend == "hf" else _open_decoder(job)


def truncated(lm: Any) -> int:
    """Requests truncated by our own backend; HFLM keeps no count."""
    return getattr(lm, "truncated", 0)


def notes(lm: Any) -> tuple[str, ...]:
    """Sentences about the weights that our own backend read; transformers says its own."""
    return getattr(lm, "notes", ())


def versions(backend: Backend) -> dict[str, str]:
    packages = ["lmm-tui", "lm-eval", "torch", "tokenizers"]
    packages += ["transformers"] if backend == "hf" else []
    return {package: version(package) for package in packages}


def _open_decoder(job: Job) -> Any:
    from lmm_tui.engine.evaluation.decoder_lm import DecoderLM

    weights = read_weights(Path(job.model))
    if weights.tokenizer is None:
        raise EvaluateError(
            "{origin}: no tokenizer.json beside it; put the model's tokenizer there",
            origin=weights.origin,
        )
    tokenizer = Tokenizer.load(weights.tokenizer)
    template = _template(weights, tokenizer, needed=job.chat)
    placed = place(weights, resolve_device(job.device))
    lm = DecoderLM(placed.model, tokenizer, template, job.batch_size, placed.precision)
    lm.notes = weights.notes_as_language_model
    return lm


def _template(weights: Weights, tokenizer: Tokenizer, needed: bool) -> ChatTemplate:
    if weights.tokenizer is not None and weights.has_own_template(tokenizer):
        return TokenizerTemplate.load(weights.tokenizer, tokenizer)
    if needed and None in (tokenizer.id_of(IM_START), tokenizer.id_of(IM_END)):
        raise EvaluateError(
            "{tokenizer}: no chat template beside it, and the tokenizer lacks "
            "the {im_start} of ChatML; evaluate without --apply-chat-template",
            tokenizer=weights.tokenizer,
            im_start=IM_START,
        )
    return CHATML


def _open_folder(job: Job) -> Any:
    folder = Path(job.model)
    if not (folder / "config.json").is_file():
        raise EvaluateError(
            "{folder}: no Hugging Face folder (no config.json); `lmm-tui convert "
            "RUN FOLDER` makes one",
            folder=folder,
        )
    import_quietly("lm_eval.models.huggingface")
    from lm_eval.models.huggingface import HFLM

    device = str(resolve_device(job.device))
    try:
        lm = HFLM(
            pretrained=str(folder),
            device=device,
            batch_size=job.batch_size,
            trust_remote_code=False,
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EvaluateError(
            "{folder}: transformers cannot open it ({reason})", folder=folder, reason=reason
        ) from None
    if job.chat and not lm.tokenizer.chat_template:
        raise EvaluateError(
            "{folder}: its tokenizer has no chat template; evaluate without --apply-chat-template",
            folder=folder,
        )
    return lm


if __name__ == "__main__":
    try:
        open_model(Job("/nowhere", ("lmm_sums",), "hf"))
    except EvaluateError as error:
        print(error)
    print(versions("run"))
    print("=== 自测通过 ===")
