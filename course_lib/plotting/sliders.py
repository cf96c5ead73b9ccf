"""Pictures under a slider: two to compare, or the frames of a film.

Without JavaScript, or in a notebook that is not trusted, the pictures stand beside each other.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from course_lib.plotting.pictures import (
    data_uri,
    encode_png,
    joined,
    named_images,
    psnr_text,
    same_channels,
    to_bytes,
    to_numpy,
)

LARGEST_SIDE = 512  # pixels: a page stays light


@dataclass(frozen=True)
class Slider:
    """Pictures under one slider: HTML on the page, one PNG elsewhere, words at worst."""

    html: str
    png: bytes
    text: str

    def _repr_mimebundle_(self, **_: Any) -> dict:
        return {
            "text/html": self.html,
            "image/png": base64.b64encode(self.png).decode(),
            "text/plain": self.text,
        }

    def __repr__(self) -> str:
        return self.text


def compare(
    before: Any,
    after: Any,
    labels: tuple[str, str] = ("degraded", "restored"),
    *,
    alt: str,
    caption: str,
    truth: Any = None,
) -> Slider:
    """Compare two images of one size under a slider that mouse, finger and arrow keys can move.

    Args:
        before, after: images in [0, 1] of one size, at most 512 pixels a side; 256 grey pixels
            keep a page light.
        labels: words on the left and on the right picture.
        alt: one sentence that replaces the pictures for a reader who cannot see them.
        caption: the sentence below, plain text.
        truth: the clean image; adds each PSNR (dB) to the labels.
    Raises:
        ValueError: different or too large sizes, no alt text, no caption.
    """
    _check_words("compare", alt, caption, "the two pictures show")
    words = [
        ", ".join(filter(None, (label, psnr_text(image, truth))))
        for label, image in zip(labels, (before, after), strict=True)
    ]
    pixels = [to_bytes(to_numpy(image)) for image in (before, after)]
    (h, w), size_after = (array.shape[:2] for array in pixels)
    if size_after != (h, w) or max(h, w) > LARGEST_SIDE:
        raise ValueError(
            f"compare: expected two images of one size, at most {LARGEST_SIDE} pixels a side, "
            f"got {(h, w)} and {size_after}. Crop or resize them first."
        )
    left, right = map(escape, words)
    html = BEFORE_AFTER.format(
        width=_width(w),
        left=left,
        right=right,
        alt=escape(alt),
        caption=escape(caption),
        before=data_uri(pixels[0]),
        after=data_uri(pixels[1]),
    )
    pair = encode_png(joined(same_channels(pixels), axis=1))
    return Slider(html, pair, f"Comparison of {words[0]} with {words[1]}: {caption}")


def film(frames: Any, labels: Sequence[str], *, alt: str, caption: str) -> Slider:
    """Show one of several images of one size, chosen by a slider: a computation along its way.

    Args:
        frames: at least two images in [0, 1] of one size, at most 512 pixels a side.
        labels: words below each of them, such as "after 20 steps".
        alt, caption: as in `compare`.
    Raises:
        ValueError: too few or different images, no alt text, no caption.
    """
    _check_words("film", alt, caption, "the frames show")
    frames, labels = named_images(frames, list(labels))
    pixels = same_channels([to_bytes(to_numpy(image)) for image in frames])
    sizes = {array.shape[:2] for array in pixels}
    (h, w) = pixels[0].shape[:2]
    if len(pixels) < 2 or len(sizes) > 1 or max(h, w) > LARGEST_SIDE:
        raise ValueError(
            f"film: expected at least two images of one size, at most {LARGEST_SIDE} pixels a "
            f"side, got {len(pixels)} of {sorted(sizes)}."
        )
    last = len(pixels) - 1
    pictures = "".join(
        FRAME.format(
            source=data_uri(array),
            alt=escape(f"{alt} ({label})"),
            label=escape(label),
            loaded=ALIVE if i == last else "",
        )
        for i, (array, label) in enumerate(zip(pixels, labels, strict=True))
    )
    html = FILM.format(width=_width(w), pictures=pictures, last=last, caption=escape(caption))
    text = f"{len(pixels)} pictures, {', '.join(labels)}: {caption}"
    return Slider(html, encode_png(joined(pixels, axis=0)), text)


def _check_words(caller: str, alt: str, caption: str, what: str) -> None:
    if not (alt.strip() and caption.strip()):
        raise ValueError(f"{caller}: alt and caption must not be empty; describe what {what}.")


def _width(w: int) -> int:
    """Pixels of the page: a whole multiple of the picture, near 512."""
    return w * max(1, round(512 / w))


BEFORE_AFTER = """\
<figure class="before-after" style="max-width:{width}px;margin:1.2rem auto"><style>
.before-after img{{display:block;width:100%;height:auto;margin:0;border-radius:0;
 image-rendering:pixelated}}
.before-after .pair{{display:flex;gap:8px}}
.before-after .side{{flex:1;min-width:0}}
.before-after .label{{display:block;font-size:.85em;text-align:center;padding:.1em .5em}}
.before-after input,.before-after .line{{display:none}}
.before-after figcaption{{text-align:center;margin-top:.6em}}
.before-after [data-live]{{--p:50%;display:block;position:relative;overflow:hidden;
 border-radius:4px;line-height:0}}
.before-after [data-live] .line,.before-after [data-live] input{{display:block;
 position:absolute;top:0;height:100%}}
.before-after [data-live] .side:first-child{{position:absolute;inset:0;z-index:1;
 clip-path:inset(0 calc(100% - var(--p)) 0 0)}}
.before-after [data-live] .label{{position:absolute;bottom:8px;right:8px;line-height:1.5;
 color:#fff;background:rgba(18,22,27,.72);border-radius:3px}}
.before-after [data-live] .side:first-child .label{{left:8px;right:auto}}
.before-after .line{{left:var(--p);width:2px;margin-left:-1px;background:#fff;z-index:2;
 box-shadow:0 0 4px rgba(0,0,0,.6);pointer-events:none}}
.before-after .line::after{{content:"\\2194";position:absolute;top:50%;left:-14px;width:30px;
 height:30px;margin-top:-15px;border-radius:50%;background:#fff;color:#12897b;
 font:18px/29px sans-serif;text-align:center;box-shadow:0 0 4px rgba(0,0,0,.5)}}
.before-after input{{-webkit-appearance:none;appearance:none;left:-22px;margin:0;opacity:0;
 width:calc(100% + 44px);z-index:3;cursor:ew-resize;touch-action:pan-y}}
.before-after input::-webkit-slider-runnable-track{{height:100%}}
.before-after input::-webkit-slider-thumb{{-webkit-appearance:none;width:44px;height:100%}}
.before-after input::-moz-range-thumb{{width:44px;height:100%;border:0}}
.before-after [data-live]:focus-within{{outline:3px solid #12897b;outline-offset:2px}}
</style><div class="pair">
<span class="side"><img src="{before}" alt="{alt} ({left})"
><span class="label">{left}</span></span>
<span class="side"><img src="{after}" alt="{alt} ({right})"
 onload="this.closest('.pair').dataset.live=1"><span class="label">{right}</span></span>
<span class="line"></span>
<input type="range" min="0" max="100" value="50"
 aria-label="Comparison slider, {left} on the left, {right} on the right"
 oninput="this.parentNode.style.setProperty('--p',this.value+'%')">
</div><figcaption>{caption}</figcaption></figure>"""

ALIVE = """
 onload="const all=this.closest('.frames');all.dataset.live=1;all.lastElementChild.oninput()\""""
FRAME = """\
<span class="frame"><img src="{source}" alt="{alt}"{loaded}
><span class="label">{label}</span></span>
"""
FILM = """\
<figure class="film" style="max-width:{width}px;margin:1.2rem auto"><style>
.film img{{display:block;width:100%;height:auto;margin:0;border-radius:4px;
 image-rendering:pixelated}}
.film .label{{display:block;font-size:.9em;text-align:center;margin:.2em 0 .6em}}
.film .frame[hidden],.film input{{display:none}}
.film [data-live] input{{display:block;width:100%;margin:0;accent-color:#12897b}}
.film figcaption{{text-align:center;margin-top:.6em}}
</style><div class="frames">
{pictures}<input type="range" min="0" max="{last}" value="0" aria-label="Frame"
 oninput="const all=[...this.parentNode.querySelectorAll('.frame')];
all.forEach((frame,i)=>frame.hidden=i!=this.value);
this.setAttribute('aria-valuetext',all[this.value].textContent.trim())"
></div><figcaption>{caption}</figcaption></figure>"""
