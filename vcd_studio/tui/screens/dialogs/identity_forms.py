"""What the Identity screen asks for: each form does its work with the identity, and ends with what the screen goes on with."""

from pathlib import Path
from typing import TYPE_CHECKING

from vcd_studio.project.errors import InputError
from vcd_studio.tui.screens.dialogs.form import Field, Form, Values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vcd_studio.project.identity import Identity, Photo
    from vcd_studio.project.project import Project
    from vcd_studio.project.settings import TrainingSettings

CONSENT = {"not asked": None, "yes, agreed": True, "no": False}
TRAINING_FIELDS = (("steps", "Steps"), ("learning_rate", "Learning rate"), ("tokens", "Tokens"), ("batch", "Batch"), ("seed", "Seed"))


def new_identity(project: "Project") -> Form:
    """Ends with the identity that was added."""
    fields = [
        Field("photos", "Folder of photos (or one photo)", hint="~/photos/rex", path=True),
        Field("name", "Name (prompts write <name>)", hint="rex"),
        Field("noun", "What is it, in a word or two?", hint="dog"),
        _consent_field(),
    ]

    def work(values: Values) -> "Identity":
        if not values["photos"]:
            raise InputError("Write the folder with the photos; → takes the suggested name.")
        return project.add_identity(values["name"], values["noun"], [Path(values["photos"]).expanduser()], CONSENT[values["consent"]])

    return Form("New identity", fields, work, "adds it")


def more_photos(project: "Project", identity: "Identity") -> Form:
    """Ends with how many photos were added."""

    def work(values: Values) -> int:
        if not values["photos"]:
            raise InputError("Write the folder with the photos, or one photo.")
        return project.add_photos(identity.name, [Path(values["photos"]).expanduser()])

    return Form("Add photos", [Field("photos", "Folder of photos (or one photo)", path=True)], work, "adds them")


def noun_of(identity: "Identity", noun: str, note: str = "") -> Form:
    """Ends with True once the noun, and whether a person agreed, are kept."""
    fields = [Field("noun", "What is it, in a word or two?", noun), _consent_field(_answer(identity))]

    def work(values: Values) -> bool:
        identity.set_noun(values["noun"], CONSENT[values["consent"]])
        return True

    return Form(f"Noun of {identity.name}", fields, work, "keeps it", note)


def finding(identity: "Identity") -> Form:
    """Noun and thresholds. Ends with what shall be segmented by them: "this photo" or "all photos"."""
    fields = [
        Field("noun", "What is it, in a word or two?", identity.noun),
        _consent_field(_answer(identity)),
        Field("box_threshold", "Box threshold (0 to 1: lower finds more)", str(identity.segmentation.box_threshold)),
        Field("text_threshold", "Text threshold (0 to 1: lower is less strict)", str(identity.segmentation.text_threshold)),
        Field("which", "Then segment", "this photo", choices=("this photo", "all photos")),
    ]

    def work(values: Values) -> str:
        from vcd_studio.project.settings import override_from_text

        names = ("box_threshold", "text_threshold")
        identity.set_section("segmentation", **dict(override_from_text(f"{name}={values[name]}") for name in names))
        identity.set_noun(values["noun"], CONSENT[values["consent"]])
        return values["which"]

    return Form(f"Find {identity.name} with other words", fields, work, "segments")


def mask_file(identity: "Identity", photo: "Photo") -> Form:
    """Ends with True once a copy of the file is the photo's mask."""

    def work(values: Values) -> bool:
        if not values["file"]:
            raise InputError("Write the mask's file; → takes the suggested name.")
        identity.take_mask(photo.name, Path(values["file"]).expanduser())
        return True

    note = "A black and white picture of the photo's own size: light is the subject. It is copied; the photo stays as it is."
    fields = [Field("file", "Mask file", hint="~/masks/03.png", path=True)]
    return Form(f"Take a mask for {photo.name}", fields, work, "takes it", note)


def training_settings(training: "TrainingSettings", before: "Mapping[str, object]") -> Form:
    """Those of the run `before`, else the identity's own. Ends with the settings to train with."""
    fields = [Field(name, label, str(before.get(name, getattr(training, name)))) for name, label in TRAINING_FIELDS]

    def work(values: Values) -> dict[str, object]:
        from vcd_studio.project.settings import override_from_text

        overrides = dict(override_from_text(f"{name}={values[name]}") for name, _ in TRAINING_FIELDS)
        training.with_overrides(overrides)
        return overrides

    return Form("Train with other settings", fields, work, "enqueues it")


def _is_person(values: Values) -> bool:
    from vcd_studio.project.identity import is_human

    return is_human(values["noun"])


def _answer(identity: "Identity") -> str:
    return next(words for words, consent in CONSENT.items() if consent is identity.consent)


def _consent_field(answer: str = "not asked") -> Field:
    return Field("consent", "A person: did he or she agree to clips of them?", answer, choices=tuple(CONSENT), when=_is_person)
