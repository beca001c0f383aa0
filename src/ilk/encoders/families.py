"""Discover the families of encoders: the files of this folder that define `FORM`.

A family file defines:

- `FORM`: the form of its names, such as `timm/NAME` or `local-dir:PATH`. The part before the
  separator (`/` or `:`) identifies the family; a form without a separator may be followed by
  `/SETTINGS`. A form that ends with `PATH` names a folder.
- `open_encoder(name, options) -> Embeds`: open the encoder without loading its weights.
- `SETTINGS = True`, if `@NAME=VALUE,…` may follow the folder.
- `PRETRAINED = False`, if its features come from no pretrained network.
- `CREDIT`, `LICENSE` and `TRAINED_ON`, if its default has weights: who made them, under which
  licence they are, and what they were trained on. The report and NOTICE say so.
- `DEFAULT` and `COST`, if it is part of `--encoder default`: the name to open, and its place among
  the defaults, cheapest first. `PACKAGE`, `EXTRA`, `REPO` and `CHECKPOINT_FILES` say what a default
  that needs weights is made of.

The constants are literals, read without importing the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module

from ilk.core.capabilities import Embeds
from ilk.core.errors import InputError, UnknownName
from ilk.core.registry import read_constants
from ilk.encoders.options import EncoderOptions

PACKAGE_NAME = "ilk.encoders"


@dataclass(frozen=True)
class Family:
    """A family of encoders, as its file describes it.

    Attributes:
        module: Dotted name of its file.
        form: How its names are written.
        takes_settings: Whether `@NAME=VALUE,…` may follow the folder.
        pretrained: Whether its features come from a pretrained network.
        default: The name that `--encoder default` opens; "" for none.
        cost: Place among the defaults, cheapest first.
        package: The package that the default needs; "" for none.
        extra: The extra of ilk that installs that package.
        repo: Hub repository of the default's weights; "" for none.
        credit: What the default's weights are and who made them; "" for none.
        license: The licence of the default's weights; "" if unknown.
        trained_on: What the default's weights were trained on; "" if unknown.
    """

    module: str
    form: str
    takes_settings: bool = False
    pretrained: bool = True
    default: str = ""
    cost: int = 0
    package: str = ""
    extra: str = ""
    repo: str = ""
    credit: str = ""
    license: str = ""
    trained_on: str = ""

    @property
    def separator(self) -> str:
        """The character after the family's part of a name: `:` or `/`."""
        return ":" if ":" in self.form else "/"

    @property
    def prefix(self) -> str:
        """The family's part of a name, separator included."""
        return self.form.partition(self.separator)[0] + self.separator

    @property
    def takes_path(self) -> bool:
        """Whether a folder follows the prefix."""
        return self.form.endswith(":PATH")

    def matches(self, name: str) -> bool:
        """Whether `name` is written in this family's form."""
        plain, _, settings = name.partition("@")
        is_variant = not settings or settings.startswith(("resize=", "views="))
        return name.startswith(self.prefix) or (is_variant and plain == self.prefix[:-1])

    def open(self, name: str, options: EncoderOptions) -> Embeds:
        """Open the encoder called `name`.

        Raises:
            InputError: The name ends after the prefix and the form requires more.
        """
        if self.form.startswith(self.prefix) and not name[len(self.prefix) :]:
            raise InputError(f"encoder {name!r} ends too early; write {self.form}")
        encoder: Embeds = import_module(self.module).open_encoder(name, options)
        return encoder


@cache
def list_families() -> tuple[Family, ...]:
    """Return every family of encoders: defaults first, by cost, then the others by form."""
    families = [
        Family(
            f"{PACKAGE_NAME}.{stem}",
            constants["FORM"],
            constants.get("SETTINGS", False),
            constants.get("PRETRAINED", True),
            constants.get("DEFAULT", ""),
            constants.get("COST", 0),
            constants.get("PACKAGE", ""),
            constants.get("EXTRA", ""),
            constants.get("REPO", ""),
            constants.get("CREDIT", ""),
            constants.get("LICENSE", ""),
            constants.get("TRAINED_ON", ""),
        )
        for stem, constants in read_constants(PACKAGE_NAME, "FORM").items()
    ]
    return tuple(sorted(families, key=lambda f: (not f.default, f.cost, f.form)))


def find_family(name: str) -> Family:
    """Return the family of the encoder called `name`.

    Raises:
        UnknownName: No family has names of this form; the message lists the forms.
    """
    for family in list_families():
        if family.matches(name):
            return family
    raise UnknownName("encoder", name, tuple(family.form for family in list_families()))


def describe_weights(name: str) -> str:
    """Return whose weights an encoder has, under which licence and trained on what, or "".

    Only weights that are a family's default are known; others are the user's.
    """
    for family in list_families():
        if family.default == name and family.credit:
            license_text = f", licence {family.license}" if family.license else ""
            trained_on = f", trained on {family.trained_on}" if family.trained_on else ""
            return f"{name}: {family.credit}{license_text}{trained_on}"
    return ""


def list_credits(encoder: Embeds) -> list[str]:
    """Return `describe_weights` of an encoder, or of its parts if it has any."""
    names = [part.name for part in getattr(encoder, "parts", ())] or [encoder.name]
    return [text for name in dict.fromkeys(names) if (text := describe_weights(name))]


def is_pretrained(name: str) -> bool:
    """Whether the encoder called `name` has pretrained weights; True for an unknown name."""
    return all(family.pretrained for family in list_families() if family.matches(name))
