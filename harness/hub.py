"""Where a configuration is read from: a file, a checkpoint's folder, or a repository of the Hugging Face hub."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from harness.errors import InputError
from harness.hf_config import read_config

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def resolve_config(argument: str) -> tuple[dict[str, object], str]:
    """The configuration that `argument` names, and where it came from, for messages.

    A path to a config.json or to a checkpoint's folder wins over "owner/name", a repository of the hub. Its
    config.json alone is fetched, or taken from the cache (HF_HOME; HF_HUB_OFFLINE=1 asks nobody). Raises InputError
    with the next step where there is no such file or repository, or it may not be read.
    """
    if not argument.strip() or not argument.isprintable():
        what, hint = f"{_short(argument)!r} is neither a path nor a repository", "give a path or owner/name"
        raise InputError(what, where="config.json", hint=hint)
    path = Path(argument)
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        # a name that no file system can hold
        what, hint = f"is no path: {_short(str(error))}", "give a path or owner/name"
        raise InputError(what, where=_short(argument), hint=hint) from None
    if is_there or not _REPOSITORY.fullmatch(argument):
        return read_config(path), str(path / "config.json" if is_folder else path)
    return read_config(_fetched(argument)), f"{argument}/config.json"


def _short(text: str) -> str:
    text = text.encode("unicode_escape").decode()
    return text if len(text) <= 60 else text[:57] + "..."


def _fetched(repository: str) -> Path:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise InputError(
            "no such file, and huggingface_hub, which reads repositories, is not installed",
            where=repository,
            hint="pip install huggingface_hub, or download the model's config.json and give its path",
        )
    from huggingface_hub import errors as hub
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, "config.json", local_files_only=not _answers(repository)))
    except hub.GatedRepoError:
        what, hint = "the repository is gated", "accept its terms on its page, then set HF_TOKEN"
    except hub.RepositoryNotFoundError:
        what = "no such file, and no such repository on the hub, or it is private"
        hint = "check the spelling; for a private one set HF_TOKEN"
    except hub.EntryNotFoundError as error:
        if isinstance(error, hub.LocalEntryNotFoundError):
            what, hint = _unreachable()
        else:
            what, hint = "the repository has no config.json", "give the path of a config.json"
    except hub.HFValidationError:
        what, hint = "is neither a file nor the name of a repository", "give a path or owner/name"
    # its errors module names the HTTP library's own base class, whichever library the installed version uses
    except (hub.OfflineModeIsEnabled, hub.HTTPError, OSError) as error:  # type: ignore[attr-defined]
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            what, hint = f"the hub refuses access (HTTP {status})", "set HF_TOKEN to a token that may read it"
        elif status is None:
            what, hint = _unreachable()
        else:
            what, hint = f"the hub answers HTTP {status}", "try again later, or give the path of a config.json"
    raise InputError(what, where=repository, hint=hint)


def _answers(repository: str) -> bool:
    """Whether the hub answers, if only with a refusal. A download would ask again and again for half a minute."""
    from huggingface_hub import errors as hub
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        get_hf_file_metadata(hf_hub_url(repository, "config.json"))
    except hub.HFValidationError:
        return True
    except (hub.OfflineModeIsEnabled, hub.HTTPError, OSError) as error:  # type: ignore[attr-defined]
        return getattr(error, "response", None) is not None
    return True


def _unreachable() -> tuple[str, str]:
    from huggingface_hub import constants

    hint = "give the path of a config.json, or fetch it where the hub can be reached"
    if constants.HF_HUB_OFFLINE:
        return "no such file; HF_HUB_OFFLINE is set and the cache does not hold this repository", hint
    return "no such file; the hub cannot be reached and the cache does not hold this repository", hint
