"""How the report looks: calm on a screen by day and by night, and on paper."""

from __future__ import annotations

from typing import Final

RULES: Final = """
:root { color-scheme: light dark;
  --paper: #fbfaf7; --card: #ffffff; --ink: #24272c; --soft: #666b73; --line: #dcd8cf;
  --held: #a9a59b; --market: #2c7a70; --trade: #4a5fa5; --handover: #a8741a; --end: #8c5f74;
  --chain: #76589f; --other: #8b8e94; --link: #8794b8;
  --proven: #b3261e; --corrupt: #b55b00; --incomplete: #5d6f86; --noted: #7d7469;
  --clean: #2f7d4f; --glyph: #ffffff; }
@media screen and (prefers-color-scheme: dark) { :root {
  --paper: #16181b; --card: #1e2125; --ink: #e7e4de; --soft: #9ba0a8; --line: #34383e;
  --held: #6a6e75; --market: #58b3a6; --trade: #8fa3e6; --handover: #dcab52; --end: #c795ac;
  --chain: #b49adf; --other: #878b92; --link: #66739a;
  --proven: #ff8a80; --corrupt: #ffb366; --incomplete: #a3b5cc; --noted: #b8afa2;
  --clean: #7fcf9f; --glyph: #16181b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 22px; font-weight: 600; margin: 0 0 4px; }
h2 { font-size: 17px; font-weight: 600; margin: 40px 0 10px; }
p { margin: 6px 0; max-width: 76ch; }
.soft, caption { color: var(--soft); }
code, .id { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 0.9em; }
.id { overflow-wrap: anywhere; }
.verdict { border-left: 5px solid var(--tone); background: var(--card); border-radius: 4px;
  padding: 14px 18px; margin: 20px 0; }
.verdict strong { color: var(--tone); font-size: 17px; font-weight: 600; display: block; }
.exit-0 { --tone: var(--clean); } .exit-1 { --tone: var(--proven); }
.exit-2 { --tone: var(--corrupt); } .exit-3 { --tone: var(--incomplete); }
dl.counts { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 10px;
  margin: 16px 0 0; }
dl.counts div { background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: 8px 12px; }
dl.counts dt { color: var(--soft); font-size: 12.5px; }
dl.counts dd { margin: 0; font-size: 18px; font-variant-numeric: tabular-nums; }
.plate { background: var(--card); border: 1px solid var(--line); border-radius: 6px; margin: 12px 0;
  padding: 8px 10px; overflow-x: auto; }
svg.strip { display: block; width: 100%; min-width: 860px; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .time, svg .date { font-size: 10.5px; fill: var(--soft); text-anchor: middle; }
svg .grid { stroke: var(--line); stroke-width: 1; stroke-dasharray: 1 4; }
svg .name { font-weight: 600; font-size: 13px; }
svg .under { fill: var(--soft); font-size: 10.5px; }
svg .lane { stroke: var(--held); stroke-width: 2; }
svg .lane.missing, svg .lane.damaged { stroke: var(--incomplete); stroke-dasharray: 2 5; }
svg .lane.trusted { stroke: var(--chain); stroke-dasharray: 7 4; }
svg .lane.undrawn { stroke-width: 1; }
svg .link { fill: none; stroke: var(--link); stroke-width: 1.3; opacity: 0.75; }
svg .link.grave { stroke: var(--proven); opacity: 0.8; }
svg .link.stub { stroke-dasharray: 2 2; }
svg .branch { fill: none; stroke-width: 2; stroke-dasharray: 5 3; stroke: var(--proven); }
svg .branch.noted { stroke: var(--noted); } svg .branch.corrupt { stroke: var(--corrupt); }
svg .mark { fill: var(--tone); --tone: var(--other); }
svg .mark.market { --tone: var(--market); } svg .mark.trade { --tone: var(--trade); }
svg .mark.handover { --tone: var(--handover); } svg .mark.end { --tone: var(--end); }
svg .mark.chain { --tone: var(--chain); }
svg .mark .letter { fill: var(--glyph); text-anchor: middle; font-weight: 600; font-size: 11.5px; }
svg .run > rect:not(.ring) { fill: var(--card); stroke: var(--held); stroke-width: 1.3; }
svg .gap > rect:not(.ring) { fill: var(--card); stroke: var(--held); stroke-width: 1.3; }
svg .gap.missing > rect:not(.ring), svg .gap.damaged > rect:not(.ring) {
  stroke: var(--incomplete); stroke-dasharray: 3 2; }
svg .gap.trusted > rect:not(.ring) { stroke: var(--chain); stroke-dasharray: 6 3; }
svg .mark.run .letter, svg .mark.gap .letter { fill: var(--soft); font-size: 10.5px; }
svg .stray > *:not(text):not(.ring):not(.badge):not(title) { fill: var(--card); stroke: var(--tone);
  stroke-width: 2; }
svg .stray .letter { fill: var(--ink); }
svg .above { opacity: 0.5; }
svg .ring { fill: none; stroke: var(--grave); stroke-width: 2; }
svg .proven { --grave: var(--proven); } svg .corrupt { --grave: var(--corrupt); }
svg .incomplete { --grave: var(--incomplete); } svg .noted { --grave: var(--noted); }
svg .badge rect { fill: var(--grave); }
svg .badge text { fill: var(--glyph); font-size: 10px; font-weight: 700; text-anchor: middle; }
svg .seal { stroke: var(--chain); stroke-width: 3; }
svg .said { fill: var(--chain); font-size: 10.5px; }
svg .seal + .said, svg .said.before { text-anchor: end; }
svg a:focus-visible { outline: 2px solid var(--trade); }
ul.legend { list-style: none; padding: 0; margin: 8px 0; display: flex; flex-wrap: wrap;
  gap: 4px 18px; font-size: 13px; color: var(--soft); }
ul.legend svg { width: 26px; height: 26px; vertical-align: -8px; margin-right: 4px; }
ul.legend svg.wide { width: 42px; }
ol.findings { list-style: none; padding: 0; margin: 0; }
ol.findings li { background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  border-left: 4px solid var(--grave); padding: 8px 14px; margin: 8px 0; }
ol.findings li:target { outline: 2px solid var(--grave); }
.proven { --grave: var(--proven); } .corrupt { --grave: var(--corrupt); }
.incomplete { --grave: var(--incomplete); } .noted { --grave: var(--noted); }
ol.findings b { color: var(--grave); font-weight: 600; }
ol.findings .where { font-size: 13px; color: var(--soft); }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
caption { text-align: left; padding: 4px 0 8px; }
th, td { text-align: left; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { font-weight: 600; font-size: 12.5px; color: var(--soft); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.text { overflow-wrap: anywhere; }
details { margin: 12px 0; } summary { cursor: pointer; color: var(--soft); }
a { color: var(--trade); }
@media print {
  :root { --paper: #fff; } body { font-size: 11px; } main { max-width: none; padding: 0; }
  .plate { overflow: visible; border: none; padding: 0; } svg.strip { min-width: 0; }
  .plate, ol.findings li, tr, dl.counts div { break-inside: avoid; }
  dl.counts { grid-template-columns: repeat(6, 1fr); } dl.counts dd { font-size: 14px; }
  table, ul.legend, dl.counts dt, ol.findings .where { font-size: 10px; }
  .verdict strong { font-size: 14px; } h1 { font-size: 18px; } h2 { font-size: 14px; }
}
"""
