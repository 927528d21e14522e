"""What an architecture's name alone decides: which of its layers slide, and whose rules are known.

The tables follow the engine; a name that is not listed is newer than them, or has rules of its own.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["ENCODERS", "KEEPS_NOTHING", "KNOWN", "SLIDING", "Sliding"]


@dataclass(frozen=True, slots=True)
class Sliding:
    """How the layers of an architecture slide unless its header tells.

    Of so many layers in a row one looks at the whole context: the last one, or the first. Without
    a group only a list in the header tells. A fixed window is not read from the header; without
    is_optional the engine wants a window, or the header of every model has one.
    """

    group: int | None = None
    full_first: bool = False
    window: int | None = None
    is_fixed: bool = False
    is_optional: bool = False
    only_blocks: int | None = None

    def needs_window(self, blocks: int | None) -> bool:
        """Whether a header that names no window leaves a doubt."""
        return not self.is_optional and self.only_blocks in (None, blocks)


SLIDING: Final = MappingProxyType(
    {
        "afmoe": Sliding(4, is_optional=True),
        "cohere2": Sliding(4),
        "cohere2moe": Sliding(4, full_first=True),
        "exaone-moe": Sliding(4, window=128),
        # Only the large one of the two slides.
        "exaone4": Sliding(4, window=4096, only_blocks=64),
        "gemma2": Sliding(2, window=4096),
        "gemma3": Sliding(6),
        "gemma3n": Sliding(5),
        "gemma4": Sliding(),
        "gpt-oss": Sliding(2),
        "granite_swa": Sliding(),
        "laguna": Sliding(4, full_first=True, is_optional=True),
        # Every layer with attention slides where there is a window.
        "lfm2": Sliding(0, is_optional=True),
        "llama4": Sliding(4, window=8192, is_fixed=True),
        "maple": Sliding(),
        "mellum": Sliding(4, is_optional=True),
        "mimo2": Sliding(),
        "muse-glimmer": Sliding(4),
        "olmo2": Sliding(4, is_optional=True),
        "plamo3": Sliding(8, is_optional=True),
        "smallthinker": Sliding(4, full_first=True, window=4096, is_fixed=True, is_optional=True),
        "spark2_5": Sliding(),
        "step35": Sliding(),
    }
)
"""The architectures whose windows the engine honours; of all others it keeps the whole context."""

KEEPS_NOTHING: Final = frozenset(
    [
        "bert",
        "dream",
        "eurobert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "llada",
        "llada-moe",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "rnd1",
    ]
)
"""They see a text whole, and keep nothing of it."""

ENCODERS: Final = frozenset(
    [
        "bert",
        "eurobert",
        "gemma-embedding",
        "gemma-embedding2",
        "jina-bert-v2",
        "jina-bert-v3",
        "llama-embed",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "t5encoder",
    ]
)
"""They turn a text into vectors and have no head that would give the next word."""

_PLAIN: Final = """
    apertus arcee arctic baichuan bailingmoe bailingmoe2 bitnet bloom chameleon chatglm codeshell
    cogvlm command-r dbrx deci deepseek deepseek2 deepseek2-ocr dots1 ernie4_5 ernie4_5-moe exaone
    falcon gemma glm4 glm4moe gpt2 gptj gptneox granite granitemoe grovemoe hunyuan-dense
    hunyuan-moe hunyuan_vl hy_v3 internlm2 jais jais2 llama llama-embed maincoder minicpm minicpm3
    minimax-m2 mistral3 mistral4 mpt nemotron olmo olmoe openelm orion paddleocr pangu-embedded
    phi2 phi3 phimoe plamo plm qwen qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3vl qwen3vlmoe refact
    seed_oss smollm3 stablelm starcoder starcoder2 xverse
"""
_RECURRENT: Final = """
    arwkv7 falcon-h1 granitehybrid jamba kimi-linear lfm2moe mamba mamba2 minimax-01 nemotron_h
    nemotron_h_moe plamo2 qwen35 qwen35moe qwen3next rwkv6 rwkv6qwen2 rwkv7
"""

KNOWN: Final = frozenset([*_PLAIN.split(), *_RECURRENT.split(), *SLIDING, *KEEPS_NOTHING])
"""The architectures whose memory follows from their header by the rules of this room."""
