"""``autoloss train --help``: a sentence, examples, the groups and their options, and a line for each key."""

from __future__ import annotations

from collections.abc import Sequence

from autoloss.app.composition import unchecked
from autoloss.app.config_source import GROUPS, conf_dir
from autoloss.app.key_comments import annotated, key_comments
from autoloss.app.verbs import VERBS
from autoloss.core.registry.lookup import registry


def help_text(verb: str, overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> str:
    """The help page of ``verb``: what it does, examples, groups, options, and the composed configuration.

    Hydra's own help takes three times as long, because it loads all configurations for each group.
    """
    options = {kind: registry.names(kind) for kind in GROUPS}
    for path in sorted(conf_dir().rglob("*.yaml")):
        group = path.parent.relative_to(conf_dir()).as_posix()
        if group not in (".", "hydra"):
            options.setdefault(group, []).append(path.stem)
    groups = "\n".join(f"{group}: {', '.join(names)}" for group, names in sorted(options.items()))
    config = annotated(unchecked(verb, overrides, config_dirs), key_comments(verb))
    return (
        f"autoloss {verb} [key=value | group=option ...]\n\n{VERBS[verb].what}\n\n{VERBS[verb].shown_examples()}\n\n"
        f"== Groups ==\nChoose an option of a group with group=option\n\n{groups}\n\n"
        f"== Configuration ==\nSet any of it with key.inner=value\n\n{config}\n\n"
        f"autoloss {verb} --hydra-help lists Hydra's own flags (-m, --cfg job, --config-dir, ...)."
    )
