"""Creates the project's environment once, and prints the path of its interpreter.

    python3 environment.py VENV [--detectron2 wheel|github]

Everything comes from the hash-checked locks beside this file; Detectron2 as the repacked wheel of
`detectron2.txt`, or built from its main branch with `--detectron2 github`, which later calls keep
to. The project itself is installed in editable mode. When nothing has changed since the last
call this only prints the path. Standard library only, and no syntax newer than Python 3.6, so
that an old interpreter can run it as far as the search for one that is recent enough.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SUPPORTED = ((3, 10), (3, 13))
REPACKED_SHA256 = "6f629723f4acf8187150584c6459d0cf50774ad6cb00687ef57589b8b4903dfe"
GITHUB = "git+https://github.com/facebookresearch/detectron2.git"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("venv", type=Path)
    parser.add_argument("--detectron2", choices=("wheel", "github"))
    args = parser.parse_args()
    if not is_supported(sys.version_info[:2]):
        sys.exit(subprocess.call([find_supported_python(), __file__, *sys.argv[1:]]))

    venv = args.venv.expanduser().absolute()
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = venv / "semiconv_d2.stamp"
    # "wheel" or "github", and what the environment was made from once it is complete.
    found = (stamp.read_text().split() if stamp.is_file() else []) or ["wheel"]
    detectron2 = args.detectron2 or found[0]
    wanted = [detectron2, fingerprint()]
    if found != wanted or not python.exists():
        if not stamp.is_file():
            refuse_what_is_there(venv)
            venv.mkdir(parents=True, exist_ok=True)
        stamp.write_text(detectron2)
        if not python.exists():
            create(venv)
        install(python, detectron2)
        stamp.write_text(" ".join(wanted))
        log("ready.")
    print(python)


def is_supported(version):
    return SUPPORTED[0] <= version <= SUPPORTED[1]


def find_supported_python():
    """The newest supported `python3.N` on the PATH that starts."""
    for minor in range(SUPPORTED[1][1], SUPPORTED[0][1] - 1, -1):
        python = shutil.which(f"python3.{minor}")
        if python and subprocess.call([python, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            return python
    sys.exit(
        f"Python 3.{SUPPORTED[0][1]} to 3.{SUPPORTED[1][1]} is needed; {sys.executable} is "
        f"{sys.version.split()[0]}, and no other was found on the PATH. Install one of them and "
        "try again."
    )


def fingerprint():
    """Changes whenever the environment has to be brought up to date."""
    digest = hashlib.sha256(str(ROOT).encode())
    for path in sorted(HERE.glob("*")) + [ROOT / "setup.py", ROOT / "pyproject.toml"]:
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def refuse_what_is_there(venv):
    if venv.exists() and (not venv.is_dir() or any(venv.iterdir())):
        sys.exit(
            f"{venv} is there already and was not made by this project. To use an environment of "
            f"your own as it is: PYTHON={venv}/bin/python make ...; to have one made, name a new "
            "folder: VENV=..."
        )


def create(venv):
    log(f"creating {venv} with Python {sys.version.split()[0]}")
    command = [sys.executable, "-m", "venv", str(venv)]
    if subprocess.call(command, stdout=sys.stderr) != 0:
        sys.exit(
            f"Python's venv module could not create {venv}. Debian and Ubuntu ship it apart: "
            "install the package python3-venv and try again."
        )


def install(python, detectron2):
    log("installing the locked packages: PyTorch and what it needs take 5 GB and some minutes")
    # Some packages are published as source only. They are built with the locked setuptools, not
    # with whatever is newest that day.
    pip(python, "install", "--require-hashes", "-r", HERE / "build.txt")
    pip(python, "install", "--require-hashes", "--no-build-isolation", "-r", HERE / "lock.txt")
    log("installing Detectron2")
    if detectron2 == "github":
        pip(python, "install", "--no-build-isolation", "--no-deps", "--force-reinstall", GITHUB)
    else:
        install_repacked_detectron2(python)
    pip(python, "install", "--no-build-isolation", "--no-deps", "--editable", ROOT)
    pip(python, "check")


def install_repacked_detectron2(python):
    with tempfile.TemporaryDirectory() as folder:
        # The tags are those of the redistributed wheel, whatever interpreter this is.
        pip(
            python, "download", "--require-hashes", "--no-deps", "--only-binary=:all:",
            "--python-version", "3.10", "--implementation", "cp", "--abi", "none",
            "--platform", "any", "--dest", folder, "-r", HERE / "detectron2.txt",
        )  # fmt: skip
        [source] = Path(folder).glob("*.whl")
        command = [str(python), str(HERE / "repack_detectron2.py"), str(source), folder]
        wheel = subprocess.check_output(command).decode().strip()
        found = hashlib.sha256(Path(wheel).read_bytes()).hexdigest()
        if found != REPACKED_SHA256:
            sys.exit(f"The repacked Detectron2 has sha256 {found}, not {REPACKED_SHA256}.")
        pip(python, "install", "--no-deps", "--force-reinstall", wheel)


def pip(python, command, *arguments):
    line = [str(python), "-m", "pip", "--disable-pip-version-check", command]
    # On a terminal pip shows how far it is; a log file is spared that.
    if command != "check" and not sys.stderr.isatty():
        line.append("--quiet")
    if subprocess.call(line + [str(a) for a in arguments], stdout=sys.stderr) != 0:
        sys.exit("The environment is not complete: pip failed, see above. Run the command again.")


def log(message):
    print("[environment] " + message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
