"""Folders of small plugins, as their authors have them."""

from __future__ import annotations

from pathlib import Path

CODE = "export const process = (order) => ({ ...order, total: order.amount * 2 });\n"


def plugin_folder(folder: Path, name: str = "price", version: str = "1.2.0", *, code: str = CODE, more: str = ""):
    """Write a plugin in JavaScript with a test and a README; `more` is more of its manifest."""
    (folder / "tests" / "doubles").mkdir(parents=True)
    (folder / "plugin.toml").write_text(
        f'[plugin]\nname = "{name}"\nversion = "{version}"\ndescription = "Adds a total"\n'
        f'language = "javascript"\nentry = "{name}.js"\n{more}',
        encoding="utf-8",
    )
    (folder / f"{name}.js").write_text(code, encoding="utf-8")
    (folder / "README.md").write_text("# A plugin\n", encoding="utf-8")
    (folder / "tests" / "doubles" / "in.jsonl").write_text('{"amount": 2}\n', encoding="utf-8")
    (folder / "tests" / "doubles" / "out.jsonl").write_text('{"amount": 2, "total": 4}\n', encoding="utf-8")
    return folder
