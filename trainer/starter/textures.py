"""Photograph-like surfaces without photographs: dead leaves, fractal noise, and crops of public-domain photos.

Natural pictures have a 1/f spectrum and sharp occlusion edges; the dead-leaves model (Lee, Mumford, Huang 2001)
reproduces both. The starter's "photo" scenes stand on such surfaces, and its autoencoder learns from them.
"""

from __future__ import annotations

import cv2
import numpy as np

TEXTURE_PX = 256


def fractal_noise(rng: np.random.Generator, *, size_px: int = TEXTURE_PX, slope: float = 1.0) -> np.ndarray:
    """Grey 1/f^slope noise in [0, 1], float32 [size_px, size_px]; stretched at random, it looks like grain."""
    fy, fx = np.meshgrid(np.fft.fftfreq(size_px), np.fft.rfftfreq(size_px), indexing="ij")
    stretch = np.exp(rng.normal(0, 0.8))
    radius = np.sqrt((fy * stretch) ** 2 + (fx / stretch) ** 2)
    radius[0, 0] = 1.0
    spectrum = np.exp(2j * np.pi * rng.random(radius.shape)) / radius ** (slope + 0.5)
    field = np.fft.irfft2(spectrum, s=(size_px, size_px))
    low, high = np.percentile(field, (1, 99))
    return np.clip((field - low) / (high - low), 0, 1).astype(np.float32)


def _random_colour(rng: np.random.Generator) -> np.ndarray:
    hsv = np.array([[[rng.random() * 179, np.clip(rng.normal(70, 55), 0, 255), rng.uniform(30, 250)]]], np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)


def fractal_surface(rng: np.random.Generator) -> np.ndarray:
    """Two or three colours blended by fractal noise: cloth, wood, plaster, sky."""
    blend = fractal_noise(rng, slope=rng.uniform(0.4, 1.6))[..., None]
    surface = _random_colour(rng) * blend + _random_colour(rng) * (1 - blend)
    grain = fractal_noise(rng, slope=rng.uniform(0.0, 0.6))[..., None] - 0.5
    return np.clip(surface + grain * rng.uniform(0, 60), 0, 255).astype(np.uint8)


def dead_leaves(rng: np.random.Generator, surfaces: list[np.ndarray]) -> np.ndarray:
    """Opaque shapes of random size (power law), each filled with a colour or a piece of a surface."""
    canvas = surfaces[rng.integers(len(surfaces))].copy()
    for _ in range(int(rng.integers(10, 90))):
        radius = int(np.clip(6 / (rng.random() ** 0.7 + 0.03), 4, 110))
        centre = tuple(int(v) for v in rng.integers(-20, TEXTURE_PX + 20, 2))
        mask = np.zeros((TEXTURE_PX, TEXTURE_PX), np.uint8)
        if rng.random() < 0.5:
            axes = (radius, max(2, int(radius * rng.uniform(0.3, 1))))
            cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            corners = np.stack([np.cos(angles), np.sin(angles)], 1) * radius + centre
            cv2.fillPoly(mask, [corners.astype(np.int32)], 255, cv2.LINE_AA)
        fill = surfaces[rng.integers(len(surfaces))] if rng.random() < 0.6 else _random_colour(rng)[None, None]
        shade = rng.uniform(0.6, 1.2)
        alpha = mask[..., None].astype(np.float32) / 255
        canvas = (canvas * (1 - alpha) + np.clip(fill * shade, 0, 255) * alpha).astype(np.uint8)
    return canvas


def photo_crop(rng: np.random.Generator, photos: list[np.ndarray]) -> np.ndarray:
    """A random square of a photo at a random scale, sometimes mirrored or turned."""
    photo = photos[rng.integers(len(photos))]
    side = int(rng.uniform(0.25, 1.0) * min(photo.shape[:2]))
    top, left = (int(rng.integers(0, extent - side + 1)) for extent in photo.shape[:2])
    crop = cv2.resize(
        photo[top : top + side, left : left + side], (TEXTURE_PX, TEXTURE_PX), interpolation=cv2.INTER_AREA
    )
    if rng.random() < 0.4:  # a colour cast, so that the few photos show more than a few palettes
        crop = np.clip(crop * rng.uniform(0.55, 1.25, 3), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return np.ascontiguousarray(np.rot90(crop, int(rng.integers(4)) if rng.random() < 0.5 else 0))


def build_textures(rng: np.random.Generator, photos: list[np.ndarray], count: int) -> np.ndarray:
    """A bank of surfaces, uint8 [count, TEXTURE_PX, TEXTURE_PX, 3]: a third each fractal, dead leaves, photo crops."""
    surfaces = [fractal_surface(rng) for _ in range(count // 3)]
    crops = [photo_crop(rng, photos) for _ in range(count // 3)]
    leaves = [dead_leaves(rng, surfaces + crops) for _ in range(count - 2 * (count // 3))]
    return np.stack(surfaces + crops + leaves)
