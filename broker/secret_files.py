"""Secrets in files, as container platforms mount them: a variable with `_FILE` appended names the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import model_validator
from pydantic_settings import BaseSettings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


class SecretFileSettings(BaseSettings):
    """Each secret `X` may be in the file that `X_FILE` names; the variable itself comes first.

    Secrets are fields of SecretStr, and those that are not shown (`repr=False`).
    """

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        found = dict(values)
        for name, field in cls.model_fields.items():
            alias = str(field.validation_alias or name)
            variable = f"{'' if field.validation_alias else cls.model_config.get('env_prefix', '')}{alias}_FILE".upper()
            path = os.environ.get(variable)
            if path and _is_secret(field) and not found.get(alias) and not found.get(name):
                try:
                    found[alias] = Path(path).read_text(encoding="utf-8").strip()
                except (OSError, UnicodeDecodeError) as error:
                    raise ValueError(f"{variable} names {path}, which cannot be read: {error}") from None
        return found


def _is_secret(field: FieldInfo) -> bool:
    return not field.repr or "SecretStr" in str(field.annotation)
