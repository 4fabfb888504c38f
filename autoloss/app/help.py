"""``autoloss train --help``: the groups, their options, and the composed configuration."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import OmegaConf

from autoloss.app.composition import composed, conf_dir
from autoloss.app.config_source import GROUPS
from autoloss.core.registry.lookup import registry


def help_text(verb: str, overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> str:
    """The help page of ``verb``: groups, options, and the composed configuration.

    Hydra's own help takes three times as long, because it loads all configurations for each group.
    """
    options = {kind: registry.names(kind) for kind in GROUPS}
    for path in sorted(conf_dir().rglob("*.yaml")):
        group = path.parent.relative_to(conf_dir()).as_posix()
        if group not in (".", "hydra"):
            options.setdefault(group, []).append(path.stem)
    groups = "\n".join(f"{group}: {', '.join(names)}" for group, names in sorted(options.items()))
    config = OmegaConf.to_yaml(OmegaConf.create(composed(verb, overrides, config_dirs)))
    return (
        f"autoloss {verb} [key=value | group=option ...]\n\n"
        f"== Groups ==\nChoose an option of a group with group=option\n\n{groups}\n\n"
        f"== Configuration ==\nSet any of it with key.inner=value\n\n{config}\n"
        f"autoloss {verb} --hydra-help lists Hydra's own flags (-m, --cfg job, --config-dir, ...)."
    )
