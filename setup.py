"""The packages to install; all other metadata is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    # The configs stay at the top level of the repository, where people look for them, and are
    # installed inside the package, where `semiconv_d2.get_config_file` finds them.
    packages=[
        *find_packages(include=["semiconv_d2", "semiconv_d2.*"]),
        "semiconv_d2.configs",
        "semiconv_d2.configs.lazy",
        "semiconv_d2.configs.presets",
    ],
    package_dir={
        "semiconv_d2.configs": "configs",
        "semiconv_d2.configs.lazy": "configs/lazy",
        "semiconv_d2.configs.presets": "configs/presets",
    },
    package_data={
        "semiconv_d2": ["py.typed"],
        "semiconv_d2.configs": ["*.yaml"],
        "semiconv_d2.configs.presets": ["*.yaml"],
        "semiconv_d2.configs.lazy": ["*.py"],
        "semiconv_d2.report": ["*.html.j2", "*.css", "*.js"],
    },
)
