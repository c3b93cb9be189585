"""What is sent and what is answered, as the schema at /api/v1/openapi.json has it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mien.serve.errors import Problem
from mien.serve.store import ID

Name = Annotated[str, Field(pattern=ID, description="As an answer of this service named it.")]
Word = Annotated[str, Field(min_length=1, max_length=64)]
Part = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Push = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Steps = Annotated[int, Field(ge=1, le=2000)]
Blocks = Literal["all", "coarse", "middle", "fine"]
Corner = Annotated[list[float], Field(min_length=2, max_length=2)]
Kind = Literal["png", "jpeg", "webp"]


class Asked(BaseModel):
    """A request; fields that it does not have are refused."""

    model_config = ConfigDict(extra="forbid")


class Drawing(Asked):
    """A request for a picture. Every picture says in its file how it was made."""

    kind: Kind = "png"
    paste: bool = Field(False, description="Lay it back into the photograph.")


class Bands(Asked):
    """Another face, and how much is taken of it: coarse is pose and shape, middle the features,
    fine colours and texture."""

    other: Name
    coarse: Part = 0.0
    middle: Part = 0.0
    fine: Part = 0.0


class DrawIn(Drawing):
    """A face with layers of another, and with expressions."""

    face: Name
    mix: Bands | None = None
    expressions: dict[Word, Push] = Field(default_factory=dict, max_length=16)


class MixIn(Drawing, Bands):
    """A face with layers of another."""

    face: Name


class ExpressIn(Drawing):
    """A face with one expression."""

    face: Name
    expression: Word
    strength: Push = 1.0


class EditIn(Drawing):
    """A face with parts of others: {"eyes": FACE}."""

    face: Name
    parts: dict[Word, Name] = Field(min_length=1, max_length=16)


class StylizeIn(Drawing):
    """A face in the style of a picture: a name of /capabilities, or of one that was sent."""

    face: Name
    style: Word
    strength: Part = 1.0
    match_colour: Part = 1.0
    keep_colour: bool = False


class LookalikeIn(Drawing):
    """A face that shares another's identity, drawn under controls."""

    face: Name
    controls: list[Push] = Field(min_length=1, max_length=64)


class MergeIn(Drawing):
    """Two faces in one."""

    content: Name
    pattern: Name
    strength: Part = 1.0
    blocks: Blocks = "all"


class TranslateIn(Drawing):
    """A face in the style of a reference, or of nobody in a domain."""

    face: Name
    reference: Name | None = None
    domain: Annotated[int, Field(ge=0, le=1000)] | Word | None = None
    seed: Seed | None = None


class SampleIn(Asked):
    """A face that does not exist."""

    seed: Seed
    psi: Part = 0.7


class ProjectIn(Asked):
    """Find a face's code. A preset is a schedule; steps changes its length."""

    verb: Literal["project"]
    face: Name
    preset: Literal["fast", "faithful", "nvlabs"] | None = None
    steps: Steps | None = None
    keep: bool = Field(True, description="Go on when nobody watches its events.")


class SwapIn(Asked):
    """Give one face the identity of another."""

    verb: Literal["swap"]
    identity: Name
    attributes: Name
    steps: Steps | None = None
    keep: bool = Field(True, description="Go on when nobody watches its events.")


JobIn = Annotated[ProjectIn | SwapIn, Field(discriminator="verb")]


class FaceOut(BaseModel):
    """A face that can be worked with."""

    id: str
    picture: str = Field(description="Address of the aligned crop.")
    quad: list[Corner] | None = Field(
        description="Corners of the crop in the photograph, px: top left, then anticlockwise."
    )
    flags: list[str] = Field(description="What may make it a poor one: small, cut off, profile.")
    ready: bool = Field(description="Whether its code is known, as drawing with it needs.")
    pastes: bool = Field(description="Whether drawings can be laid back into its photograph.")


class PhotoOut(BaseModel):
    """What was found in a photograph, from left to right."""

    width: int
    height: int
    found: int = Field(description="Faces in it; only the largest are kept.")
    faces: list[FaceOut]


class StyleOut(BaseModel):
    """A style that can be drawn in."""

    id: str


class JobOut(BaseModel):
    """How far a job is. Times in seconds; `left` is a guess from the pace so far."""

    id: str
    verb: Literal["project", "swap"]
    faces: dict[str, str]
    state: Literal["waiting", "running", "done", "cancelled", "failed"]
    before: int = Field(description="Jobs before it in the line.")
    step: int
    steps: int
    loss: float | None
    seconds: float
    left: float | None
    ended: str | None = Field(
        description='By what: "steps", "stop", or "seconds", the time that a job may take.'
    )
    picture: str | None = Field(description="Address of what it found so far.")
    records: int = Field(description="Grows with what it found so far.")
    result: dict[str, Any]
    error: Problem | None


class Able(BaseModel):
    """Whether a verb works here; if not, why, and what to do."""

    able: bool
    why: str = ""
    hint: str = ""


class Capabilities(BaseModel):
    """What this service can do, for a page to build its controls of."""

    version: str
    resolution: int
    verbs: dict[str, Able]
    expressions: list[str]
    parts: list[str]
    styles: list[str]
    controls: int
    domains: list[str]
    portraits: list[str]
    limits: dict[str, float]


class Health(BaseModel):
    """ready: the networks that are used first are open."""

    status: Literal["ok"]
    ready: bool
    version: str
