"""The page that answers questions about images."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ilk.serve.shell import respond_page

BODY = """<h1>Ask <span id="model-name">the model</span></h1>
<p id="model-facts" class="muted"></p>
<p id="model-note" class="warn" hidden></p>
<section id="drop" class="panel drop" aria-labelledby="drop-heading">
<h2 id="drop-heading">Choose images</h2>
<p id="drop-hint">Drop images or a folder here, paste one, or choose:</p>
<div class="row">
<button id="choose-files" class="primary" type="button">Images…</button>
<button id="choose-folder" type="button">Folder…</button>
<button id="open-camera" type="button">Camera</button>
</div>
<input id="files" type="file" accept="image/*,.tif,.tiff,.dcm,.heic,.avif" multiple hidden>
<input id="folder" type="file" webkitdirectory multiple hidden>
<input id="capture" type="file" accept="image/*" capture="environment" hidden>
</section>
<section id="camera" class="panel" aria-labelledby="camera-heading" hidden>
<h2 id="camera-heading">Camera</h2>
<video id="video" muted playsinline></video>
<div class="row">
<button id="take" class="primary" type="button">Take picture</button>
<button id="close-camera" type="button">Close</button>
</div>
</section>
<section id="corrections" class="panel" aria-labelledby="corrections-heading" hidden>
<h2 id="corrections-heading">Corrections</h2>
<p id="change"></p>
<p id="set-aside" class="warn"></p>
<ul id="pending" class="plain"></ul>
<div class="row" id="correction-actions">
<button id="save" class="primary" type="button">Save as a new version</button>
<button id="withdraw-all" type="button">Undo all</button>
</div>
<details id="versions-box">
<summary>Versions</summary><ul id="versions" class="plain"></ul></details>
</section>
<div class="row" id="answers-head" hidden>
<h2 id="answers-heading" tabindex="-1">Answers</h2>
<span id="count" class="muted"></span>
<button id="clear" type="button">Clear</button>
</div>
<ol id="answers" class="plain" aria-labelledby="answers-heading"></ol>
<details class="muted small"><summary>What the answers mean</summary>
<p><b>Probable</b>: of the answers given with 80 %, about eight in ten are right, for images like
those that the model learned from.</p>
<p><b>Set</b>: all classes that cannot be ruled out. A 90 % set contains the right class for nine in
ten such images; an empty one means that no class is certain enough: look at the image yourself.</p>
<p><b>Unknown</b>: the image is unlike those that the model learned from, and its class may be
none of these.</p></details>
<details class="muted small"><summary>Keys</summary>
<p><kbd>Ctrl</kbd>+<kbd>V</kbd> paste · in an answer (reach it with <kbd>Tab</kbd>):
<kbd>j</kbd> / <kbd>k</kbd> next and previous answer · <kbd>e</kbd> explain it ·
<kbd>c</kbd> correct it · <kbd>Esc</kbd> close</p></details>
<datalist id="classes"></datalist>"""


async def send_ask_page(request: Request) -> Response:
    """Return the page."""
    return respond_page(request, "Ask", BODY, "/static/ask.js", styles=("/static/ask.css",))
