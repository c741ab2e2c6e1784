"""The look of the report: light and dark, on a screen and on paper, without anything from elsewhere.

The colours of series are Okabe and Ito's, which people of every kind of colour vision can tell apart; their
yellow is darkened on white, and grey stands for their black.
"""

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de;
  --panel: #f6f8fa; --warn: #fff4e5; --warn-edge: #d55e00;
  --s0: #0072b2; --s1: #d55e00; --s2: #009e73; --s3: #cc79a7; --s4: #8a6d00; --s5: #e69f00; --s6: #56b4e9;
  --s7: #6e7781; }
@media screen and (prefers-color-scheme: dark) { :root { --ground: #14171b; --ink: #e6e9ed; --soft: #9da7b3;
  --line: #3a424c; --panel: #1c2127; --warn: #33240f; --s0: #56b4e9; --s4: #f0e442; --s6: #4b93d1;
  --s7: #b1bac4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 68rem; background: var(--ground);
  color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; }
nav ul { columns: 2; padding-left: 1.2rem; }
a { color: inherit; }
.soft, figcaption, small { color: var(--soft); }
.warned { padding: .6rem .9rem; background: var(--warn); border-left: .35rem solid var(--warn-edge);
  font-weight: 600; max-width: none; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .75rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .8rem .4rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
td { min-width: 4.5rem; overflow-wrap: anywhere; }
thead th { border-bottom-width: 2px; vertical-align: bottom; }
tbody th { font-weight: 600; }
td small, th small { display: block; font-weight: 400; line-height: 1.35; }
figure { display: inline-block; vertical-align: top; margin: 1rem 1.5rem 1.5rem 0; max-width: 100%; }
figcaption { font-size: .875rem; }
svg.chart { display: block; min-width: 30rem; max-width: 100%; height: auto; }
svg.key { width: .8em; height: .8em; margin-right: .45em; }
svg.patterns { position: absolute; }
svg text { fill: var(--ink); font-size: 12px; font-family: inherit; }
svg .heading { font-weight: 600; font-size: 13px; }
svg .tick { fill: var(--soft); font-size: 11px; }
svg .middle { text-anchor: middle; }
svg .end { text-anchor: end; }
svg .grid { stroke: var(--line); fill: none; }
svg .axis, svg .median { stroke: var(--ink); fill: none; }
svg .median { stroke-width: 2; }
svg .whisker { stroke-width: 1.6; fill: none; }
svg .box { fill-opacity: .3; }
svg .mark, svg .bar { stroke: none; }
svg .zero { fill: var(--s7); }
svg .positive { fill: var(--s0); }
svg .negative { fill: url(#hatch); stroke: var(--s1); }
svg .hatch-ground { fill: var(--ground); }
svg .hatch-line { stroke: var(--s1); stroke-width: 5; }
.s0 { fill: var(--s0); stroke: var(--s0); } .s1 { fill: var(--s1); stroke: var(--s1); }
.s2 { fill: var(--s2); stroke: var(--s2); } .s3 { fill: var(--s3); stroke: var(--s3); }
.s4 { fill: var(--s4); stroke: var(--s4); } .s5 { fill: var(--s5); stroke: var(--s5); }
.s6 { fill: var(--s6); stroke: var(--s6); } .s7 { fill: var(--s7); stroke: var(--s7); }
details { margin: .4rem 0; border: 1px solid var(--line); border-radius: .4rem; padding: .45rem .8rem; }
details > summary { cursor: pointer; overflow-wrap: anywhere; }
summary b { font-variant-numeric: tabular-nums; margin-right: .5em; white-space: nowrap; }
.sides { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); }
.side { min-width: 0; }
.side h3 { font-size: 1rem; margin: .75rem 0 .25rem; }
.said { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; }
.steps { list-style: none; padding: 0; }
.steps > li { margin: .5rem 0; padding-left: .8rem; border-left: 3px solid var(--line); }
.steps > .thought .said { font-style: italic; color: var(--soft); }
.steps > .answer { border-left-color: var(--s0); }
.steps > .invalid { border-left: 3px dashed var(--s1); }
.kind { display: block; font-size: .75rem; color: var(--soft); }
.aspects { list-style: none; padding: 0; }
@media print { :root { color-scheme: light; }
  body { max-width: none; padding: 0; font-size: 10.5pt; } nav { display: none; }
  figure, tr, .warned, .steps > li { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .scroll { overflow: visible; } * { print-color-adjust: exact; } }
"""
