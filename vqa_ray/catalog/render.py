"""A product → its picture. Pure: the same product gives the same pixels, and the same bytes once encoded."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from vqa_ray.catalog.geometry import Polygon, Pose, ellipse, rounded
from vqa_ray.catalog.motifs import MOTIF_PARTS
from vqa_ray.catalog.patterns import pattern_polygons, second_colour
from vqa_ray.catalog.product import COLOURS, Product
from vqa_ray.catalog.scene import Colour, background, light, obstacle
from vqa_ray.catalog.shapes import SHAPES, Role, Shape

# The product is drawn this much larger and reduced, which smooths its edges.
_OVERSAMPLING = 2
_PAPER: Colour = (248, 245, 236)
_NEUTRAL: Colour = (112, 112, 116)
_INKS: tuple[Colour, ...] = ((18, 18, 22), (20, 30, 86), (92, 14, 22), (14, 66, 34), (66, 20, 84))
_OBSTACLE_SHARE = 0.3
_SHADOW_SHARE = 0.6


class _Layer:
    """A picture of the product alone: what is painted, and where it covers the background."""

    def __init__(self, side: int, colour: Colour) -> None:
        self.paint = Image.new("RGB", (side, side), colour)
        self.cover = Image.new("L", (side, side), 0)
        self._draw = ImageDraw.Draw(self.paint)
        self._draw_cover = ImageDraw.Draw(self.cover)

    def fill_from(self, shape: Polygon, cloth: Image.Image) -> None:
        """Lay `cloth`, as large as the layer, over what was painted inside `shape` before."""
        left, top = np.maximum(shape.min(axis=0).astype(int), 0).tolist()
        right, bottom = np.minimum(shape.max(axis=0).astype(int) + 2, self.paint.width).tolist()
        mask = Image.new("L", (right - left, bottom - top), 0)
        ImageDraw.Draw(mask).polygon((shape - (left, top)).ravel().tolist(), fill=255)
        self.paint.paste(cloth.crop((left, top, right, bottom)), (left, top), mask)

    def fill(self, shape: Polygon, colour: Colour) -> None:
        self._draw.polygon(shape.ravel().tolist(), fill=colour)

    def outline(self, shape: Polygon, colour: Colour, width: int) -> None:
        points = shape.ravel().tolist()
        self._draw.line([*points, *points[:4]], fill=colour, width=width, joint=None)

    def cut(self, shape: Polygon) -> None:
        self._draw_cover.polygon(shape.ravel().tolist(), fill=0)

    def show(self, shape: Polygon) -> None:
        self._draw_cover.polygon(shape.ravel().tolist(), fill=255)


def _shade(colour: Colour) -> Colour:
    """Make a darker tone of a colour, or a lighter one of black."""
    if sum(colour) < 150:
        return (74, 74, 80)
    return (int(colour[0] * 0.7), int(colour[1] * 0.7), int(colour[2] * 0.7))


def _paint_body(layer: _Layer, shape: Shape, pose: Pose, product: Product, rng: np.random.Generator) -> None:
    colour = COLOURS[product.colour]
    shade = _shade(colour)
    line = (24, 22, 26) if product.colour != "black" else (96, 96, 100)
    width = max(2, int(0.012 * layer.paint.width))
    second = second_colour(product.colour)
    for stroke in pattern_polygons(product.pattern, rng):
        layer.fill(pose.place(stroke), second)
    fills = {Role.TRIM: shade, Role.NEUTRAL: _NEUTRAL, Role.PAPER: _PAPER}
    cloth = layer.paint.copy()
    for number, (role, part) in enumerate(shape.parts):
        placed = pose.place(part)
        if role is Role.HOLE:
            layer.cut(placed)
        else:
            layer.show(placed)
            if role is not Role.BODY:
                layer.fill(placed, fills[role])
            elif number > 0:
                layer.fill_from(placed, cloth)
        layer.outline(placed, line, width)


def _paint_motif(layer: _Layer, shape: Shape, pose: Pose, motif: str, rng: np.random.Generator) -> None:
    ink = _INKS[rng.integers(len(_INKS))]
    radius = shape.print_radius * rng.uniform(0.95, 1.05)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    print_pose = pose.after(Pose.of(radius, radius, 0.0, shape.print_x, shape.print_y))
    label = ellipse(0.0, 0.0, 1.0, 1.0) if rng.random() < 0.6 else rounded(-0.93, -0.93, 0.93, 0.93, 0.3)
    placed = print_pose.place(label)
    layer.show(placed)
    layer.fill(placed, _PAPER)
    layer.outline(placed, ink, max(2, int(0.010 * layer.paint.width)))
    draw = print_pose.after(Pose.of(0.86 * flip, 0.86, rng.uniform(-8.0, 8.0), 0.0, 0.0))
    for is_ink, part in MOTIF_PARTS[motif]:
        layer.fill(draw.place(part), ink if is_ink else _PAPER)


def render(product: Product) -> Image.Image:
    """Draw a product: mode RGB, `product.width` × `product.height` pixels."""
    rng = np.random.default_rng(product.render_seed)
    colour = COLOURS[product.colour]
    shape = SHAPES[product.category]
    short = min(product.width, product.height)
    size = short * rng.uniform(0.78, 0.95)
    stretch = rng.uniform(0.94, 1.0)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    side = int(size * 1.12)
    scale = size * _OVERSAMPLING
    middle = side * _OVERSAMPLING / 2
    pose = Pose.of(scale * stretch * flip, scale, rng.uniform(-7.0, 7.0), middle, middle).after(
        Pose.of(1.0, 1.0, 0.0, -0.5, -0.5)
    )

    layer = _Layer(side * _OVERSAMPLING, colour)
    _paint_body(layer, shape, pose, product, rng)
    if product.motif is not None:
        _paint_motif(layer, shape, pose, product.motif, rng)
    if rng.random() < _OBSTACLE_SHARE:
        tone, part = obstacle(shape.print_x, shape.print_y, shape.print_radius * 1.05, rng)
        placed = pose.place(part)
        layer.show(placed)
        layer.fill(placed, tone)
    paint, cover = layer.paint.reduce(_OVERSAMPLING), layer.cover.reduce(_OVERSAMPLING)

    picture = Image.fromarray(np.ascontiguousarray(background(product.width, product.height, colour, rng)))
    spare_x, spare_y = max(0.0, product.width - size), max(0.0, product.height - size)
    left = int((product.width - side) / 2 + spare_x * rng.uniform(-0.45, 0.45))
    top = int((product.height - side) / 2 + spare_y * rng.uniform(-0.45, 0.45))
    if rng.random() < _SHADOW_SHARE:
        offset = max(2, int(0.02 * size))
        picture.paste((0, 0, 0), (left + offset, top + offset), cover.point([v // 4 for v in range(256)]))
    picture.paste(paint, (left, top), cover)
    return Image.fromarray(light(np.asarray(picture), rng))


def encode(product: Product, image: Image.Image) -> bytes:
    """Make the bytes of the image file, in the product's own encoding."""
    buffer = BytesIO()
    if product.encoding == "png":
        image.save(buffer, "PNG", compress_level=1)
    else:
        image.save(buffer, "JPEG", quality=product.jpeg_quality)
    return buffer.getvalue()
