"""Builds the one extension, `hookgrad._C`, from csrc/core and csrc/python. The rest stands in pyproject.toml.

Settings, from the environment:
    HOOKGRAD_WERROR=1     warnings are errors
    HOOKGRAD_DEBUG=1      -O0 -g3, assertions on
    HOOKGRAD_SANITIZE=1   AddressSanitizer and UndefinedBehaviorSanitizer, with symbols
    HOOKGRAD_SYMBOLS=1    keeps the symbols, for profilers
    HOOKGRAD_JOBS=n       how many files to compile at a time (2)
"""

import os
import platform
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path
from zipfile import ZipFile

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

try:
    from zopfli.zlib import compress as zopfli
except ImportError:
    zopfli = None

HERE = Path(__file__).resolve().parent
SOURCES = sorted(glob("csrc/core/*.c", root_dir=HERE) + glob("csrc/python/*.c", root_dir=HERE))
HEADERS = sorted(name for kind in ("h", "def") for name in glob(f"csrc/**/*.{kind}", root_dir=HERE, recursive=True))


def setting(name: str) -> bool:
    return os.environ.get(f"HOOKGRAD_{name}", "0") not in ("", "0")


def compile_flags() -> list[str]:
    flags = ["-std=c11", "-D_GNU_SOURCE", "-fvisibility=hidden", "-pthread", "-Wall", "-Wextra"]
    # C functions are handed to CPython as PyCFunction and as slots, each with the signature its flags promise.
    flags += ["-Wno-cast-function-type"]
    flags += ["-fno-math-errno", "-fno-trapping-math"]
    if setting("WERROR"):
        flags += ["-Werror"]
    if setting("DEBUG"):
        flags += ["-O0", "-g3", "-UNDEBUG", "-DHG_DEBUG"]
    elif setting("SANITIZE"):
        flags += ["-O1", "-g", "-UNDEBUG", "-fno-omit-frame-pointer", *sanitize_flags()]
    else:
        # Nothing unwinds through C here; the tables for it would be a tenth of the library.
        flags += ["-O3", "-g0", "-DNDEBUG", "-fno-semantic-interposition", "-fno-asynchronous-unwind-tables"]
        flags += ["-ffunction-sections", "-fdata-sections"]
        if sys.platform == "linux":
            flags += ["-fno-plt"]  # calls into Python go straight there
    return flags


# What a small call, of an op or of a module, runs through is optimised as one; more files would gain nothing, and every link would
# take longer.
JOINED = """autograd engine expr hooks lib module node op pointwise saved storage tensor py_args py_hook_call py_host py_index py_module
            py_op py_op_method py_tensor py_tensor_number""".split()
# What has loops over many elements, or moves a few in a small call: -O3. All else is code for calls.
LOOPS = """blas copy index k_binary k_cast k_conv k_double k_few k_gemm k_plane k_reduce k_slab k_unary
           k_window op_attention op_conv op_create op_embedding op_extreme op_index op_join op_linalg op_loss
           op_matmul op_nll op_norm op_pool op_random op_scan op_softmax op_sort optim random shape""".split()
# Of these, what has loops over a block of known length, or over a few elements: fast only where it is written out.
UNROLLED = """copy k_gemm k_reduce k_unary k_window op_create op_extreme op_loss op_matmul op_nll op_norm op_pool op_scan op_softmax
              op_sort optim""".split()
# Of these, what is slower where a loop is written out only if that makes a hundred instructions at most, or the source says so.
LONG = "k_gemm k_reduce k_unary op_norm op_pool op_softmax op_sort".split()
# What is slower by a hundredth or more where instructions are not scheduled (see flags_of).
ORDERED = "k_binary k_unary op_loss op_nll op_pool op_random op_scan op_softmax".split()
# What no loop runs through, neither one over elements nor a program's own: as small as can be. No file with HG_VECTOR: GCC, too,
# leaves the upper halves of vectors in use where it makes code small (see loop_flags).
SELDOM = """cpu dtype malloc_host meta op_arrange op_decompose op_einsum op_math py_buffer py_cast py_dispatch py_dlpack
            py_generator py_init py_layer py_machine py_mapping py_numpy py_override py_parse py_raise py_reenter py_saved
            py_saved_hooks py_types py_watch schema""".split()


def flags_of(source: str, compiler: str) -> list[str]:
    """Further flags of one file."""
    path = Path(source)
    if setting("DEBUG") or setting("SANITIZE"):
        return []
    flags = joined_flags(compiler) if path.stem in JOINED else []
    flags += (
        loop_flags(compiler, path.stem in UNROLLED, path.stem in LONG) if path.stem in LOOPS else call_flags(compiler)
    )
    if "gcc" in compiler and platform.machine() in ("x86_64", "AMD64"):
        # For a hundred bytes `rep stos` takes as long as all the rest of a call, or of a row.
        flags += [f"-mmem{what}-strategy=vector_loop:512:noalign,libcall:-1:noalign" for what in ("set", "cpy")]
    if "gcc" in compiler and path.stem not in JOINED:
        # Padding is a sixtieth of the library, and nothing is faster for it but short functions that call one another.
        flags += ["-falign-loops=1", "-falign-jumps=1", *["-falign-functions=1"] * (path.stem in LOOPS)]
        if path.stem not in ORDERED:
            # The processor finds by itself what can begin early, and what comes in one order each time is compressed better.
            flags += ["-fno-schedule-insns2"]
    return [*flags, "-Os"] if path.stem in SELDOM else flags


def loop_flags(compiler: str, unrolled: bool, long: bool) -> list[str]:
    """Loops are vectorised, but not copied for each case they might meet.

    Where GCC knows which registers a function of the file uses it forgets, after a call, that the upper halves of vectors are
    in use: it leaves them so, and what comes next without AVX (the C library, Python) takes seventy times as long."""
    flags = ["-fno-ipa-ra"] if sys.platform == "linux" and "clang" not in compiler else []
    if "gcc" in compiler and unrolled:
        flags += ["-fno-peel-loops", "-fno-split-loops", "-fno-version-loops-for-strides"]
        flags += ["--param=max-completely-peeled-insns=100"] * (not long)
    elif "gcc" in compiler:
        flags += ["-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic"]
    return flags


def call_flags(compiler: str) -> list[str]:
    """Code for calls is small, and moves structs by their fields: a vector load of fields stored one by one has to wait."""
    return ["-O2", "-fno-tree-vectorize", "-fno-tree-slp-vectorize"]


def joined_flags(compiler: str) -> list[str]:
    joins = "gcc" in compiler and sys.platform == "linux" and not (setting("DEBUG") or setting("SANITIZE"))
    return ["-flto=1", "-flto-partition=one"] if joins else []


def link_flags() -> list[str]:
    flags = ["-pthread"]
    if setting("SANITIZE"):
        flags += sanitize_flags()
    elif not setting("DEBUG") and not setting("SYMBOLS") and sys.platform != "darwin":
        flags += ["-Wl,-s", "-Wl,--gc-sections", "-Wl,--build-id=none"]
    return flags


def sanitize_flags() -> list[str]:
    return ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]


def blas() -> tuple[list[str], list[tuple[str, str | None]]]:
    """OpenBLAS's headers. The library itself is loaded by path when the first large product comes, never linked."""
    try:
        import scipy_openblas32
    except ImportError:
        return [], []
    return [scipy_openblas32.get_include_dir()], [("HG_HAVE_CBLAS", None)]


def numpy_include() -> list[str]:
    """NumPy's headers, where a source asks for them."""
    if not any("numpy/arrayobject.h" in (HERE / source).read_text() for source in SOURCES):
        return []
    import numpy

    return [numpy.get_include()]


class BuildExt(build_ext):
    """Compiles a few files at a time, and only those whose source, headers or flags have changed.

    The compiler writes down which headers a file includes (-MMD), so editing one recompiles what needs it.
    """

    def build_extension(self, ext):
        compiler = self.compiler
        directory = Path(self.build_temp)
        directory.mkdir(parents=True, exist_ok=True)
        record = directory / "flags.txt"
        used = (ext.extra_compile_args, ext.extra_link_args, ext.define_macros, ext.include_dirs)
        command = " ".join(compiler.compiler_so)
        if joined_flags(command):
            ext.extra_link_args = [*ext.extra_link_args, *joined_flags(command), *call_flags(command)]
        flags = repr((command, *used, [flags_of(source, command) for source in SOURCES]))
        same_flags = record.exists() and record.read_text() == flags
        if not same_flags:
            self.force = True

        def compile_changed(sources, output_dir=None, macros=None, include_dirs=None, debug=0, extra_preargs=None,
                            extra_postargs=None, depends=None):  # fmt: skip
            macros, objects, extra_postargs, pp_opts, build = compiler._setup_compile(
                output_dir, macros, include_dirs, sources, depends, extra_postargs
            )
            cc_args = compiler._get_cc_args(pp_opts, debug, extra_preargs)
            stale = [o for o in objects if o in build and not (same_flags and up_to_date(o, build[o][0]))]

            def one(obj):
                source, suffix = build[obj]
                compiler._compile(obj, source, suffix, cc_args, [*extra_postargs, *flags_of(source, command)], pp_opts)

            with ThreadPoolExecutor(int(os.environ.get("HOOKGRAD_JOBS", "2"))) as pool:
                list(pool.map(one, stale))
            return objects

        compiler.compile = compile_changed
        super().build_extension(ext)
        if sys.platform == "linux" and platform.machine() == "x86_64":
            clear_relocated(Path(self.get_ext_fullpath(ext.name)))
        record.write_text(flags)


def clear_relocated(library: Path) -> None:
    """Put zeros where the loader will write addresses. What the linker left there is in the relocations again, and no loader
    reads it: a fiftieth of the library, compressed."""
    image = bytearray(library.read_bytes())
    if image[:6] != b"\x7fELF\x02\x01":
        return
    (table,), (n,) = struct.unpack_from("<Q", image, 0x28), struct.unpack_from("<H", image, 0x3C)
    sections = [struct.unpack_from("<IIQQQQ", image, table + 64 * i)[1:] for i in range(n)]
    for kind, _, _, start, size in sections:
        for entry in range(start, start + size, 24) if kind == 4 else ():  # SHT_RELA
            place, relocation = struct.unpack_from("<QQ", image, entry)
            for kind_there, _, address, offset, length in sections:
                # R_X86_64_RELATIVE, in a section with bytes in the file (SHT_PROGBITS)
                if relocation == 8 and kind_there == 1 and address <= place < address + length:
                    struct.pack_into("<Q", image, place - address + offset, 0)
    library.write_bytes(image)


class Zopfli:
    """Compresses a file for a zip by Zopfli, where that is installed: any unzip reads it, and it is a thirtieth smaller than
    zlib's best, for some ten seconds a wheel."""

    def __init__(self):
        self.data = b""

    def compress(self, data: bytes) -> bytes:
        self.data += data
        return b""

    def flush(self) -> bytes:
        return zopfli(self.data, numiterations=5)[2:-4]  # without zlib's header and checksum


class SmallZip(ZipFile):
    """A zip whose files are compressed as far as deflate goes."""

    def open(self, name, mode="r", **options):
        file = super().open(name, mode, **options)
        if zopfli and getattr(file, "_compressor", None):  # it is written, and not as it is
            file._compressor = Zopfli()
        return file


class BdistWheel(bdist_wheel):
    """The wheel, compressed as far as it goes."""

    def run(self) -> None:
        super().run()
        path = self.distribution.dist_files[-1][2]
        with ZipFile(path) as wheel:
            files = [(info, wheel.read(info)) for info in wheel.infolist()]
        with SmallZip(path, "w") as wheel:
            for info, data in files:
                wheel.writestr(info, data, compresslevel=9)


def up_to_date(obj: str, source: str) -> bool:
    rules = Path(obj).with_suffix(".d")
    if not os.path.exists(obj) or not rules.exists():
        return False
    names = rules.read_text().replace("\\\n", " ").partition(":")[2].split()
    made = os.path.getmtime(obj)
    return all(os.path.exists(n) and os.path.getmtime(n) < made for n in [source, *names])


blas_include, blas_macros = blas()
setup(
    cmdclass={"build_ext": BuildExt, "bdist_wheel": BdistWheel},
    ext_modules=[
        Extension(
            "hookgrad._C",
            SOURCES,
            depends=["setup.py", *HEADERS],
            include_dirs=["csrc/include", "csrc/core", *blas_include, *numpy_include()],
            define_macros=blas_macros,
            extra_compile_args=[*compile_flags(), "-MMD"],
            extra_link_args=link_flags(),
        )
    ],
)
