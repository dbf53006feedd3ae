"""The page's HTML and CSS, for jinja2. The page loads nothing from elsewhere."""

CSS = """
:root { color-scheme: light dark; --paper: #fffffe; --ink: #1b1f24; --muted: #5b6470;
  --line: #d5d9df; --soft: #f4f5f7; --good: #007a58; --link: #0060a0; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e6e8eb;
  --muted: #9aa4b0; --line: #363d46; --soft: #1d2228; --good: #3cc79b; --link: #7fbfef; } }
@media print { :root { color-scheme: light; --paper: #fffffe; --ink: #1b1f24; --muted: #5b6470;
  --line: #d5d9df; --soft: #f4f5f7; --good: #007a58; --link: #1b1f24; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.7rem; } h2 { margin: 3rem 0 .4rem; font-size: 1.35rem;
  border-top: 2px solid var(--line); padding-top: 1rem; } h3 { margin: 1.8rem 0 .3rem;
  font-size: 1.02rem; }
p { margin: .3rem 0; } .lead { font-weight: 600; }
.muted { color: var(--muted); } .good { color: var(--good); }
a { color: var(--link); } code, pre { font: .87em ui-monospace, monospace; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .28rem .8rem .28rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; } th { color: var(--muted); font-weight: 600; white-space: nowrap; }
td.n, th.n { text-align: right; white-space: nowrap; } tr.chosen td { font-weight: 700; }
td.why { overflow-wrap: anywhere; min-width: 20rem; }
figure { margin: .3rem 0; max-width: 60rem; }
figure svg { display: block; width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .6rem 0;
  font-size: .87rem; } dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
details { margin: 1rem 0; } summary { cursor: pointer; font-weight: 600; }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; border-radius: 4px; }
nav { margin: .5rem 0; } nav a { margin-right: .9rem; }
@media print { body { max-width: none; padding: 0; font-size: 10.5px; } nav { display: none; }
  h2 { break-before: page; } h2.first { break-before: auto; } figure, tr { break-inside: avoid; }
  h3 { break-after: avoid; } .scroll { overflow: visible; } pre { white-space: pre-wrap; } }
"""

TABLE = """
{%- macro table(one) -%}
<div class="scroll"><table><thead><tr>
{%- for cell in one.titles %}<th{% if loop.index0 in one.numbers %} class="n"{% endif %}>\
{{ cell }}</th>{% endfor -%}
</tr></thead><tbody>
{% for row in one.rows -%}
<tr{% if loop.index0 in one.chosen %} class="chosen"{% endif %}>
{%- for cell in row %}<td{% if loop.index0 in one.numbers %} class="n"\
{% elif loop.index0 in one.long %} class="why"{% endif %}>{{ cell }}</td>{% endfor -%}
</tr>
{% endfor -%}
</tbody></table></div>
{%- endmacro -%}
"""

PAGE = (
    TABLE
    + """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="{{ generator }}">
<title>{{ title }}</title>
<style>{{ css }}</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
<p class="muted">{{ subtitle }}</p>
{% if sections|length > 1 %}<nav>{% for one in sections %}<a href="#{{ one.anchor }}">\
{{ one.title }}</a>{% endfor %}</nav>{% endif %}
</header>
<main>
{% if answers %}<h2 class="first">What the search gained</h2>
{% for stage, lines in answers %}<h3>{{ stage }}</h3>
{% for line in lines %}<p{% if loop.first %} class="lead"{% endif %}>{{ line }}.</p>
{% endfor %}{% endfor %}{% endif %}
<h2{% if not answers %} class="first"{% endif %}>Stages</h2>
{% if stages.rows %}{{ table(stages) }}
<p class="muted">{{ stages_told }}</p>
{% else %}<p>No stage has begun yet.</p>{% endif %}
{% if waiting %}<p>Not begun: {{ waiting }}.</p>{% endif %}
{% if pool %}<p>{{ pool }}</p>{% endif %}
{% for one in sections %}
<section>
<h2 id="{{ one.anchor }}">{{ one.title }}</h2>
<p class="muted">{{ one.told }}</p>
{% for part in one.parts %}
<h3>{{ part.title }}</h3>
{% if part.told %}<p class="muted">{{ part.told }}</p>{% endif %}
{% if part.svg %}<figure role="img" aria-label="{{ part.title }}, {{ one.title }}">\
{{ part.svg }}</figure>{% endif %}
{% if part.table %}{{ table(part.table) }}{% endif %}
{% endfor %}
</section>
{% endfor %}
</main>
<footer>
<h2>How it was made</h2>
<dl>{% for name, text in about.items() %}<dt>{{ name }}</dt><dd>{{ text }}</dd>{% endfor %}</dl>
<details><summary>Recipe</summary><pre>{{ recipe }}</pre></details>
<details><summary>Package versions where this page was made</summary>
<dl>{% for name, text in packages.items() %}<dt>{{ name }}</dt><dd>{{ text }}</dd>{% endfor %}</dl>
</details>
<p class="muted">The same figures as files: {{ files }}.</p>
</footer>
</body>
</html>
"""
)
