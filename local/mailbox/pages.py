"""The mailbox's pages, in light and dark."""

_STYLE = """
:root { color-scheme: light dark; --line: #d7dee6; --soft: #5b6875; --paper: #fff; --ground: #eef1f5; --ink: #1c2733;
  --link: #1d68b3; }
@media (prefers-color-scheme: dark) { :root { --line: #33404d; --soft: #a9b6c3; --paper: #1b242e; --ground: #12181f;
  --ink: #e8edf2; --link: #8cc4ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, "Segoe UI", sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 24px 16px; }
h1 { font-size: 22px; margin: 0 0 4px; } a { color: var(--link); }
.soft { color: var(--soft); font-size: 13px; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; }
.mail { display: block; padding: 12px 16px; border-top: 1px solid var(--line); color: inherit; text-decoration: none; }
.mail:first-child { border-top: 0; } .mail:hover, .mail:focus { background: var(--ground); }
.mail b { display: block; } iframe { width: 100%; height: 76vh; border: 0; border-radius: 8px; background: #fff; }
pre { margin: 0; padding: 14px 16px; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; }
summary { padding: 10px 16px; cursor: pointer; font-weight: 600; } details { margin-top: 14px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; margin: 0; padding: 0 16px 14px; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
"""

_HEAD = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<style>{_STYLE}</style>"""

LIST = (
    _HEAD
    + """<meta http-equiv="refresh" content="3"><title>Mailbox ({{ mails|length }})</title></head><body><main>
<h1>Mailbox</h1>
<p class="soft">Every mail that was sent on this machine; nothing leaves it. The newest comes first.</p>
<div class="card">
{%- for mail in mails %}
<a class="mail" href="/mails/{{ mail.number }}"><b>{{ mail.subject }}</b>
<span class="soft">to {{ mail.to|join(", ") }} · {{ clock(mail.at_ms) }}
{%- if mail.attachments %} · {{ mail.attachments|length }} attached{% endif %}
{%- if mail.copies > 1 %} · received {{ mail.copies }} times{% endif %}</span></a>
{%- else %}
<p class="mail soft">No mail yet.</p>
{%- endfor %}
</div></main></body></html>
"""
)

MAIL = (
    _HEAD
    + """<title>{{ mail.subject }}</title></head><body><main>
<p class="soft"><a href="/">Mailbox</a></p>
<h1>{{ mail.subject }}</h1>
<p class="soft">from {{ mail.sender }} to {{ mail.to|join(", ") }} · {{ clock(mail.at_ms) }}
{%- if mail.copies > 1 %} · received {{ mail.copies }} times{% endif %}</p>
{%- if mail.attachments %}
<p>{% for file in mail.attachments %}<a href="/mails/{{ mail.number }}/files/{{ loop.index0 }}">{{ file.file_name }}</a>
<span class="soft">({{ file.content_type }}, {{ "{:,}".format(file.size) }} bytes)</span> {% endfor %}</p>
{%- endif %}
<div class="card"><iframe sandbox="allow-popups" title="The mail as a mail program shows it"
 src="/mails/{{ mail.number }}/html"></iframe></div>
<details class="card"><summary>Text part</summary><pre>{{ text }}</pre></details>
<details class="card"><summary>Headers</summary><dl>
{%- for name, value in headers %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor -%}
</dl></details>
<p class="soft"><a href="/mails/{{ mail.number }}/raw">The whole message as received</a></p>
</main></body></html>
"""
)
