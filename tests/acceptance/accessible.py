"""What keeps somebody from using a page by ear, by keyboard, or with weak eyes: our own look at the
browser's accessibility tree and at the colours that are drawn.
"""

from typing import Any, Final

from playwright.sync_api import Page

_NAMED: Final = {
    "button", "link", "textbox", "searchbox", "combobox", "spinbutton", "checkbox", "image", "img",
    "table", "progressbar", "navigation", "Date",
}  # fmt: skip
_LEAST: Final = 4.5
"""WCAG AA's contrast of text; we ask it of large text, too."""

_LOOKS: Final = 4
_MOMENT_MS: Final = 250

_COLOURS: Final = """least => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const colour = parse(getComputedStyle(element).backgroundColor);
      if (colour.length === 3 || colour[3] > .5) return colour;
    }
    return [255, 255, 255];
  };
  const poor = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true }))
      continue;
    if (["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.tagName) || element.closest("svg"))
      continue;
    if (element.closest(":disabled, .pm-skip, .nicegui-skip-link")) continue;
    const [one, two] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(one, two) + .05) / (Math.min(one, two) + .05);
    if (ratio < least) poor.add(`contrast ${ratio.toFixed(1)}: ${text.slice(0, 40)}`);
  }
  return [...poor];
}"""

_SHAPE: Final = """() => {
  const wrong = [], ids = [...document.querySelectorAll("[id]")].map(e => e.id);
  const levels = [...document.querySelectorAll("h1, h2, h3")].map(e => Number(e.tagName[1]));
  if (levels.filter(level => level === 1).length !== 1) wrong.push("not one h1");
  if (levels.some((level, i) => i && level > levels[i - 1] + 1)) wrong.push("a level skipped");
  const mains = document.querySelectorAll("main:not([role]), [role=main]");
  if (mains.length !== 1) wrong.push("not one main part");
  if (!document.documentElement.lang) wrong.push("no language");
  if (new Set(ids).size !== ids.length) wrong.push("an id twice");
  document.querySelectorAll("[tabindex]").forEach(e => {
    if (e.tabIndex > 0) wrong.push("an order of its own for the keyboard"); });
  return wrong;
}"""


def obstacles(page: Page) -> list[str]:
    """Everything found on the page, in words; what is gone a moment later belonged to a page that
    was still being drawn.
    """
    for _ in range(_LOOKS):
        found = _found(page)
        if not found:
            return []
        page.wait_for_timeout(_MOMENT_MS)
    return found


def _found(page: Page) -> list[str]:
    found: list[str] = [*page.evaluate(_SHAPE), *page.evaluate(_COLOURS, _LEAST)]
    session = page.context.new_cdp_session(page)
    tree = session.send("Accessibility.getFullAXTree")
    session.detach()
    return [*found, *(_nameless(node) for node in tree["nodes"] if _is_nameless(node))]


def _is_nameless(node: dict[str, Any]) -> bool:
    role = node.get("role", {}).get("value")
    return not node["ignored"] and role in _NAMED and not node.get("name", {}).get("value")


def _nameless(node: dict[str, Any]) -> str:
    properties = {each["name"]: each["value"].get("value") for each in node.get("properties", [])}
    return f"without a name: {node['role']['value']} {properties}"
