"""A body as source text: CUDA C++ for the device, C++ for the host.

The same straight line, operation by operation; what differs is the header that says how one
rounding is done.  Both programs take the same arguments (``common.h``): a table of tensors, a work
list of chunks of ``CHUNK`` elements, and rows of constants.
"""

from __future__ import annotations

import functools
import importlib.resources
from dataclasses import dataclass

import numpy as np

from optconform.impls.cuda.body import Body

CHUNK = 1024
"""Elements that a warp takes at a time."""

STORED = {"float32": "float", "float64": "double", "bfloat16": "b16", "float16": "f16"}
BYTES = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2}

WORDS = 960
"""Of 32 bits, that one launch of ``fill`` writes: a kernel takes 4 KiB of arguments."""

UNROLL = '_Pragma("unroll") '

CALLS = {
    "add": "add", "sub": "sub", "mul": "mul", "fma": "fused", "div": "div", "sqrt": "root",
    "max": "larger", "neg": "neg", "abs": "size", "sign": "sign",
}  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """A body for tensors in these formats.

    ``param`` is the format of parameters and gradients, ``state`` of the state; arithmetic is in
    float64 for float64 parameters and in float32 for all others.  ``stochastic``: bfloat16 tensors
    are rounded up or down by chance.
    """

    body: Body
    param: str
    state: str
    stochastic: bool = False

    @property
    def wide(self) -> str:
        return "float64" if self.param == "float64" else "float32"

    @property
    def stored(self) -> tuple[str, ...]:
        """The format of each of the body's arrays."""
        return tuple(
            self.param if name in ("p", "grad") else self.state for name in self.body.arrays
        )

    @property
    def lanes(self) -> int:
        """Elements that one thread takes at a time: 128 bits of the narrowest array."""
        return 16 // min(BYTES[s] for s in self.stored)

    @functools.cached_property
    def row(self) -> np.dtype[np.void]:
        k = (self.wide, (max(1, len(self.body.constants)),))
        return np.dtype([("k", *k), ("t", "u4")], align=True)

    @property
    def few(self) -> int:
        """Rows that are passed by value: a kernel takes 4 KiB of arguments."""
        return min(32, 3584 // self.row.itemsize)

    @functools.cached_property
    def entry(self) -> np.dtype[np.void]:
        pointers = ("array", "u8", (len(self.body.arrays),))
        return np.dtype([pointers, ("n", "i8"), ("row", "i4"), ("aligned", "i4"), ("number", "i8")])

    @functools.cached_property
    def args(self) -> np.dtype[np.void]:
        pointers = [(n, "u8") for n in ("entries", "work", "rows", "grad_scale", "found_inf")]
        rest = [("seed", "u8"), ("n_work", "i4"), ("pad", "i4"), ("few", self.row, (self.few,))]
        return np.dtype([*pointers, *rest], align=True)

    @property
    def hypers(self) -> tuple[str, ...]:
        """What the constants are computed from, in the order of the table that ``rows`` takes."""
        return self.body.constants.names


def cuda(kernel: Kernel) -> str:
    """The program for the device: ``step``, ``rows`` for constants made on the device, and ``fill``
    for tables that a CUDA graph writes."""
    names = kernel.body.arrays
    lanes = kernel.lanes
    deep = max(1, 8 // lanes)  # 32 bytes or more of every array asked for at a time
    declared, loaded, stored, single, back = [], [], [], [], []
    for k, (name, fmt) in enumerate(zip(names, kernel.stored, strict=True)):
        c = STORED[fmt]
        declared.append(f"{c}* const A{k} = reinterpret_cast<{c}*>(e.array[{k}]) + base;")
        declared.append(f"__builtin_assume(__isGlobal(A{k}));")
        loaded.append(f"alignas(16) {c} v{k}[DEEP][V];")
        if name in kernel.body.reads:
            loaded.append(f"{UNROLL}for (int u = 0; u < DEEP; u++)")
            loaded.append(f"  fetch(A{k} + i + u * 32 * V, v{k}[u]);")
            single.append(f"{c} s{k} = A{k}[i];")
        else:
            single.append(f"{c} s{k};")
        if name in kernel.body.writes:
            stored.append(f"put(A{k} + i + u * 32 * V, v{k}[u]);")
            back.append(f"A{k}[i] = s{k};")
    vector = ", ".join(f"v{k}[u][j]" for k in range(len(names)))
    scalar = ", ".join(f"s{k}" for k in range(len(names)))
    chance = ", base + {}, (u32)e.number, a.seed" if kernel.stochastic else ""
    return "\n".join(
        [
            _head(kernel, "arithmetic_cuda.h"),
            f"static const int V = {lanes}, DEEP = {deep};",
            _update(kernel),
            _rows(kernel),
            f"""
extern "C" __global__ void __launch_bounds__(256, 2) step(const __grid_constant__ Args a) {{
  if (a.found_inf && *a.found_inf != 0.0f) return;
  const T unscale = a.grad_scale ? div((T)1, (T)*a.grad_scale) : (T)1;
  const int lane = threadIdx.x & 31;
  const int warps = gridDim.x * (blockDim.x >> 5);
  for (int w = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5); w < a.n_work; w += warps) {{
    const int2 item = a.work[w];
    const Entry& e = a.entries[item.x];
    const Row row = a.rows ? a.rows[e.row] : a.few[e.row];
    const long long base = (long long)item.y * CHUNK;
    const int n = e.n - base < CHUNK ? (int)(e.n - base) : CHUNK;
    {_joined(declared, "    ")}
    if (n == CHUNK && e.aligned) {{
#pragma unroll 1
      for (int i = lane * V; i < CHUNK; i += 32 * V * DEEP) {{
        {_joined(loaded, "        ")}
        {UNROLL}for (int u = 0; u < DEEP; u++) {{
          {UNROLL}for (int j = 0; j < V; j++)
            update(row, unscale, {vector}{chance.format("i + u * 32 * V + j")});
          {_joined(stored, "          ")}
        }}
      }}
    }} else {{
      for (int i = lane; i < n; i += 32) {{
        {_joined(single, "        ")}
        update(row, unscale, {scalar}{chance.format("i")});
        {_joined(back, "        ")}
      }}
    }}
  }}
}}

extern "C" __global__ void rows(const double* h, Row* out, int n) {{
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) constants(h + (long long)i * {len(kernel.hypers)}, out[i]);
}}

struct Block {{ u32 word[{WORDS}]; }};
extern "C" __global__ void fill(u32* to, int n, const __grid_constant__ Block from) {{
  for (int i = threadIdx.x; i < n; i += blockDim.x) to[i] = from.word[i];
}}
""",
        ]
    )


def paired(kernel: Kernel) -> bool:
    """Whether the host takes two elements at a time, as one word."""
    return set(kernel.stored) == {"bfloat16"}


def host(kernel: Kernel) -> str:
    """The program for the host, with the same arguments; chunks that follow one another in a tensor
    are taken in one go.

    Where every array is bfloat16, two neighbours are read and written as one word: to widen and to
    narrow them are then shifts and masks, where single ones would have to change lanes.
    """
    names = kernel.body.arrays
    declared, taken, single, back, words, halves = [], [], [], [], [], []
    for k, (name, fmt) in enumerate(zip(names, kernel.stored, strict=True)):
        c = STORED[fmt]
        declared.append(f"{c}* const A{k} = reinterpret_cast<{c}*>(e.array[{k}]) + base;")
        taken.append(f"{c}* const __restrict A{k}")
        if name in kernel.body.reads:
            single.append(f"{c} s{k} = A{k}[i];")
            words.append(f"const u32 w{k} = word(A{k} + i);")
            words.append(f"b16 l{k} = {{(u16)w{k}}}, h{k} = {{(u16)(w{k} >> 16)}};")
        else:
            single.append(f"{c} s{k};")
            words.append(f"b16 l{k}, h{k};")
        if name in kernel.body.writes:
            back.append(f"A{k}[i] = s{k};")
            halves.append(f"put(A{k} + i, l{k}.u | (u32)h{k}.u << 16);")
    scalar, low, high, arrays = (
        ", ".join(f"{x}{k}" for k in range(len(names))) for x in ("s", "l", "h", "A")
    )
    chance = ", base + {}, number, seed" if kernel.stochastic else ""
    pairs = f"""
  for (long long j = 0; j < n / 2; j++) {{
    const long long i = 2 * j;
    {_joined(words, "    ")}
    update(row, unscale, {low}{chance.format("i")});
    update(row, unscale, {high}{chance.format("i + 1")});
    {_joined(halves, "    ")}
  }}"""
    # a factor that the compiler knows costs nothing, which shows where memory is not the limit
    call = f"span(row, {{}}, n, base, (u32)e.number, a->seed, {arrays});"
    known = f"if (unscale == (T)1) {call.format('(T)1')} else " if paired(kernel) else ""
    return "\n".join(
        [
            _head(kernel, "arithmetic_host.h"),
            _update(kernel),
            _rows(kernel),
            f"""
HD void span(
    const Row& row, const T unscale, const long long n, const long long base, const u32 number,
    const u64 seed, {", ".join(taken)}) {{{pairs if paired(kernel) else ""}
  for (long long i = {"n & ~1ll" if paired(kernel) else "0"}; i < n; i++) {{
    {_joined(single, "    ")}
    update(row, unscale, {scalar}{chance.format("i")});
    {_joined(back, "    ")}
  }}
}}

extern "C" void step(const Args* a, int threads) {{
  if (a->found_inf && *a->found_inf != 0.0f) return;
  const T unscale = a->grad_scale ? usual(div((T)1, (T)*a->grad_scale)) : (T)1;
#pragma omp parallel for num_threads(threads) if (threads > 1) schedule(static, 1)
  for (int part = 0; part < threads; part++) {{
    const int end = (int)((long long)a->n_work * (part + 1) / threads);
    int w = (int)((long long)a->n_work * part / threads);
    while (w < end) {{
      const int first = w;
      const int2 item = a->work[first];
      while (w < end && a->work[w].x == item.x && a->work[w].y - item.y == w - first) w++;
      const Entry& e = a->entries[item.x];
      Row row = a->rows ? a->rows[e.row] : a->few[e.row];
      for (T& k : row.k) k = usual(k);
      const long long base = (long long)item.y * CHUNK, most = (long long)(w - first) * CHUNK;
      const long long n = e.n - base < most ? e.n - base : most;
      {_joined(declared, "      ")}
      {known}{call.format("unscale")}
    }}
  }}
}}

extern "C" void rows(const double* h, Row* out, int n) {{
  for (int i = 0; i < n; i++) constants(h + (long long)i * {len(kernel.hypers)}, out[i]);
}}
""",
        ]
    )


def _joined(lines: list[str], indent: str) -> str:
    return f"\n{indent}".join(lines)


def _head(kernel: Kernel, arithmetic: str) -> str:
    return "\n".join(
        [
            f"#define ONLY_B16 {int(paired(kernel))}",
            _text(arithmetic),
            f"typedef {STORED[kernel.wide]} T;",
            f"#define ARRAYS {len(kernel.body.arrays)}",
            f"#define CONSTANTS {max(1, len(kernel.body.constants))}",
            f"#define FEW {kernel.few}",
            f"#define CHUNK {CHUNK}",
            _text("common.h"),
            _text("philox.h") if kernel.stochastic else "",
        ]
    )


@functools.cache
def _text(name: str) -> str:
    return (importlib.resources.files(__package__) / name).read_text(encoding="utf-8")


def _update(kernel: Kernel) -> str:
    """One element: its arrays as they are stored, in and out."""
    body = kernel.body
    arguments = [
        f"{STORED[fmt]}& s_{name}" for name, fmt in zip(body.arrays, kernel.stored, strict=True)
    ]
    if kernel.stochastic:
        arguments += ["u64 element", "u32 number", "u64 seed"]
    lines = [f"const T {name} = widened(s_{name});" for name in body.reads if name != "grad"]
    if "grad" in body.reads:
        lines.append("const T grad = mul(widened(s_grad), unscale);")
    lines += [f"const T k{i} = row.k[{i}];" for i in range(len(body.constants))]
    lines += [f"const T {op.out} = {CALLS[op.kind]}({', '.join(op.args)});" for op in body.ops]
    if kernel.stochastic:
        lines.append("const Words words = philox(element, row.t, number, seed);")
    for j, (name, x) in enumerate(body.writes.items()):
        if kernel.stochastic and kernel.stored[body.arrays.index(name)] == "bfloat16":
            lines.append(f"s_{name}.u = stochastic({x}, words.w[{j}]);")
        else:
            lines.append(f"narrow(s_{name}, {x});")
    text = "\n  ".join(lines)
    return f"HD void update(const Row& row, T unscale, {', '.join(arguments)}) {{\n  {text}\n}}\n"


def _rows(kernel: Kernel) -> str:
    """The constants from hyperparameters and t, in double, each rounded once."""
    constants = kernel.body.constants
    lines = constants.source("h")
    lines += [f"to.k[{k}] = (T)r{i};" for k, i in enumerate(constants.results)]
    lines.append(f"to.t = (u32)r{constants.names.index('t')};")
    text = "\n  ".join(lines)
    return f"HD void constants(const double* h, Row& to) {{\n  {text}\n}}\n"
