"""Keys of the gateway: ``ot-<id>-<secret>``, of which the configuration holds a salt and a hash.

The secret is 32 random bytes.  A slow hash (argon2, scrypt) is made for passwords, which people choose
out of perhaps 2**40: it makes each guess dear.  Nobody guesses one of 2**256, however fast the hash, so
slowness would add nothing here, and cost some 50 ms of every request.  HMAC-SHA256 under a salt of its
own for each key takes microseconds, and shows not even that two files hold the same key.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import fields

from outthink.core.errors import BadInput
from outthink.gateway.settings import KeyConfig, name_fault

PREFIX = "ot"
#: signs of an id, and of a secret: none that a double click or a shell would stop at
SMALL = "0123456789abcdefghijklmnopqrstuvwxyz"
ALPHABET = SMALL + SMALL[10:].upper()
#: signs in an id and in a secret of ``BYTES``, and the bytes of a salt
ID_LENGTH, BYTES, SECRET_LENGTH, SALT_BYTES = 12, 32, 43, 16

_KEY = re.compile(rf"{PREFIX}-([0-9a-z]{{{ID_LENGTH}}})-([0-9A-Za-z]{{{SECRET_LENGTH}}})")
#: salt and hash that an unknown key is compared with, which takes as long as a known one
_NOBODY = ("00" * SALT_BYTES, "0" * 64)


def new_key(name: str) -> tuple[str, KeyConfig]:
    """A new key, which is to be shown once and kept nowhere, and what the configuration holds of it.

    Raises ``BadInput`` for a name that is none.
    """
    if fault := name_fault(name, "a key's name", most=64):
        raise BadInput(fault)
    ident = "".join(secrets.choice(SMALL) for _ in range(ID_LENGTH))
    secret = _base62(secrets.randbits(8 * BYTES))
    salt = secrets.token_hex(SALT_BYTES)
    known = KeyConfig(id=ident, name=name, salt=salt, hash=_digest(salt, secret))
    return f"{PREFIX}-{ident}-{secret}", known


def find_key(keys: Mapping[str, KeyConfig], presented: str) -> KeyConfig | None:
    """Whose key this is, or ``None``.

    The time does not depend on how much of a key is right, nor on whether its id is known.
    """
    found = _KEY.fullmatch(presented)
    ident, secret = found.groups() if found else ("", "0" * SECRET_LENGTH)
    key = keys.get(ident)
    salt, expected = (key.salt, key.hash) if key else _NOBODY
    right = hmac.compare_digest(_digest(salt, secret).encode(), expected.encode())
    return key if right else None


def toml_of(key: KeyConfig) -> str:
    """The lines of the configuration for a key; limits that are not set are left out."""
    lines = [f"[keys.{key.id}]"]
    for part in fields(key):
        value = getattr(key, part.name)
        if part.name != "id" and value != part.default:
            shown = list(value) if isinstance(value, tuple) else value
            lines.append(f"{part.name} = {json.dumps(shown, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _digest(salt: str, secret: str) -> str:
    return hmac.digest(salt.encode(), secret.encode(), "sha256").hex()


def _base62(number: int) -> str:
    """A number of ``BYTES`` in ``SECRET_LENGTH`` signs."""
    signs = []
    for _ in range(SECRET_LENGTH):
        number, rest = divmod(number, len(ALPHABET))
        signs.append(ALPHABET[rest])
    return "".join(reversed(signs))
