"""Options and helpers that the commands of `alignery serve` share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from serve.errors import ServeError

if TYPE_CHECKING:
    from cluster.registry import Registry
    from serve.sizes import Sizes

serve_app = typer.Typer(help="Serve a base and its adapters.", no_args_is_help=True)


Base = Annotated[
    str | None,
    typer.Option(help="The base model. Default: the one that all champions were trained on."),
]
Slots = Annotated[
    int, typer.Option(min=1, help="Completions that are written at once; others wait.")
]
SlotTokens = Annotated[
    int | None,
    typer.Option(
        min=2,
        help="Tokens of the longest prompt and completion together. Less leaves room for more "
        "slots. Default: as many as --kv-gib and the base's context allow.",
    ),
]
KvGib = Annotated[
    float | None,
    typer.Option(
        help="Memory that the slots' keys and values may take together, in GiB. Default: 4 on a "
        "CPU, on a GPU what is free beside the base and its adapters.",
    ),
]
BankAdapters = Annotated[
    int,
    typer.Option(
        "--adapters",
        min=1,
        help="Different adapters that share a batch. Any number can be asked for: those "
        "beyond take turns.",
    ),
]
CudaGraphs = Annotated[
    bool,
    typer.Option(
        "--cuda-graphs/--no-cuda-graphs",
        help="Capture steps as CUDA graphs on a GPU: faster, for some 0.2 GiB of its memory.",
    ),
]
ParseControlTokens = Annotated[
    bool,
    typer.Option(
        "--parse-control-tokens",
        help="Read control tokens, such as <|im_end|>, that stand in the text of messages: whoever "
        "may send a chat can then write a system turn. Default: text is text.",
    ),
]
_WITHOUT_KEYS = "Ask nobody for an API key: everyone who reaches the port may use it."
WithoutKeys = Annotated[bool, typer.Option("--without-keys", help=_WITHOUT_KEYS)]
WithoutKeysHere = Annotated[
    bool,
    typer.Option(
        "--without-keys",
        help=f"{_WITHOUT_KEYS} Default: keys are asked for once there is one (`alignery serve key "
        "create`), and beyond this machine always.",
    ),
]


def sizes(
    slots: int,
    slot_tokens: int | None,
    kv_gib: float | None,
    adapters: int,
    cuda_graphs: bool,
    parse_control_tokens: bool = False,
) -> Sizes:
    """The sizes of an engine from the options above. ServeError if `kv_gib` is not allowed."""
    from serve.sizes import Sizes

    if kv_gib is not None and not 0 < kv_gib < math.inf:
        raise ServeError(f"--kv-gib {kv_gib:g}: expected a number above 0, for example 4")
    return Sizes(
        slots=slots,
        slot_tokens=slot_tokens,
        kv_gib=kv_gib,
        adapters=adapters,
        cuda_graphs=cuda_graphs,
        parse_control_tokens=parse_control_tokens,
    )


def champions_base(registry: Registry, command: str) -> str:
    """The base that all champions were trained on. ServeError if there is none, or several."""
    aliases = registry.aliases().items()
    bases = {version.base for name, version in aliases if name.endswith("@champion")}
    if len(bases) == 1:
        return bases.pop()
    problem = f"champions of several bases are registered ({', '.join(sorted(bases))})"
    raise ServeError(
        f"{problem if bases else 'no champion is registered'}; name the base: "
        f"`alignery serve {command} --base {min(bases) if bases else 'smollm2-135m-instruct'}`"
    )
