/*
 * Photo -> tensor, as volo_edge/preprocess.py does it on the host, to the last bit.
 *
 * The platform's scalers do not agree with Pillow's, which VOLO's accuracies were measured with, so its filter is
 * computed here: a cubic with a = -0.5 or a triangle, widened by the reduction, over columns and then over rows, in
 * fixed point, with bytes between the two.
 */
package org.voloedge.core

import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min
import kotlin.math.round

private const val PRECISION = 22 // bits after the point of a weight: a byte times the weights' sum stays within 32

/** An image, resized and cropped: bytes of height x width x channels, height and width being `preprocessing.crop`. */
fun prepare(photo: Pixels, preprocessing: Preprocessing): ByteArray {
    val image = if (preprocessing.grey) photo.grey() else photo
    val channels = preprocessing.channels
    val resized = resized(Size(image.height, image.width), preprocessing)
    val crop = preprocessing.crop
    val rows = centred(resized.height, crop.height)
    val columns = centred(resized.width, crop.width)
    val vertical = taps(image.height, resized.height, rows, preprocessing.interpolation)
    val horizontal = taps(image.width, resized.width, columns, preprocessing.interpolation)

    val firstRow = vertical.minOf { it.first }
    val narrow = narrowed(image, channels, horizontal, firstRow, vertical.maxOf { it.last })
    val pixels = ByteArray(crop.height * crop.width * channels)
    val length = horizontal.size * channels
    for ((index, tap) in vertical.withIndex()) {
        val from = (tap.first - firstRow) * length
        val to = ((rows.padding + index) * crop.width + columns.padding) * channels
        for (offset in 0 until length) pixels[to + offset] = tap.sum(narrow, from + offset, length)
    }
    return pixels
}

/** What the model takes: floats channels x height x width in 0..255, of what [prepare] gives. */
fun toInput(pixels: ByteArray, channels: Int): FloatArray {
    val area = pixels.size / channels
    return FloatArray(pixels.size) { pixels[it % area * channels + it / area].level.toFloat() }
}

/** Rows `firstRow..lastRow` of `image`, filtered over their columns: bytes of row x `horizontal` x channels. */
private fun narrowed(image: Pixels, channels: Int, horizontal: List<Taps>, firstRow: Int, lastRow: Int): ByteArray {
    val narrow = ByteArray((lastRow - firstRow + 1) * horizontal.size * channels)
    var to = 0
    for (row in firstRow..lastRow) {
        val from = image.start + row * image.rowStride
        for (tap in horizontal) {
            val left = from + tap.first * image.columnStride
            for (channel in 0 until channels) {
                narrow[to++] = tap.sum(image.bytes, left + channel * image.channelStride, image.columnStride)
            }
        }
    }
    return narrow
}

/**
 * What a photograph of `size` is resized to.
 *
 * To cover a square box, one side is the box's and the other is rounded down; to cover an oblong one, both are divided
 * by the smaller of the two ratios and rounded, halves to even. So timm does.
 */
private fun resized(size: Size, preprocessing: Preprocessing): Size {
    val box = preprocessing.resizeTo
    if (preprocessing.squash) return box
    val (height, width) = size
    if (box.height != box.width) {
        val ratio = min(height.toDouble() / box.height, width.toDouble() / box.width)
        return Size(round(height / ratio).toInt(), round(width / ratio).toInt())
    }
    return if (box.height.toLong() * width >= box.width.toLong() * height) {
        Size(box.height, (width.toLong() * box.height / height).toInt())
    } else {
        Size((height.toLong() * box.width / width).toInt(), box.width)
    }
}

/** Of a resized side, the `count` pixels from `start` on, which come after `padding` zeros in the crop. */
private class Part(val start: Int, val count: Int, val padding: Int)

/** The part of `side` to take, rounded as torchvision's centre crop does: halves to even, but down where it pads. */
private fun centred(side: Int, crop: Int): Part {
    if (side < crop) return Part(0, side, (crop - side) / 2)
    val spare = side - crop
    return Part(spare / 2 + (if (spare % 4 == 3) 1 else 0), crop, 0)
}

/** What one pixel of a resized side is made of: pixels of the side from `first` on, and their weights. */
private class Taps(val first: Int, private val weights: IntArray) {
    val last: Int get() = first + weights.size - 1

    /** The weighted sum, as a byte, of the bytes from `from` on that lie `stride` apart. */
    fun sum(bytes: ByteArray, from: Int, stride: Int): Byte {
        var sum = 1 shl (PRECISION - 1) // a half, to round
        var at = from
        for (weight in weights) {
            sum += bytes[at].level * weight
            at += stride
        }
        return (sum shr PRECISION).coerceIn(0, 255).toByte()
    }
}

/** The taps of `part` of a side of `side` pixels resized to `resized`. */
private fun taps(side: Int, resized: Int, part: Part, interpolation: Interpolation): List<Taps> {
    val scale = side.toDouble() / resized
    val widening = max(scale, 1.0)
    val reach = interpolation.reach * widening
    val kernel = if (interpolation == Interpolation.BICUBIC) ::cubic else ::triangle
    return List(part.count) { index ->
        val centre = (part.start + index + 0.5) * scale
        val first = max((centre - reach + 0.5).toInt(), 0)
        val end = min((centre + reach + 0.5).toInt(), side)
        val weights = DoubleArray(end - first) { kernel((first + it - centre + 0.5) * (1 / widening)) }
        val total = weights.sum()
        Taps(first, IntArray(weights.size) { fixed(weights[it] / total) })
    }
}

/** The cubic convolution kernel of Keys, with a = -0.5. */
private fun cubic(distance: Double): Double {
    val x = abs(distance)
    return when {
        x < 1 -> (1.5 * x - 2.5) * x * x + 1
        x < 2 -> (((x - 5) * x + 8) * x - 4) * -0.5
        else -> 0.0
    }
}

/** The kernel of bilinear interpolation. */
private fun triangle(distance: Double): Double = max(1 - abs(distance), 0.0)

/** `weight` in fixed point, rounded half away from zero. */
private fun fixed(weight: Double): Int = (weight * (1 shl PRECISION) + (if (weight < 0) -0.5 else 0.5)).toInt()

/** The image in grey, as Pillow makes it: luma of ITU-R 601-2, in fixed point. */
private fun Pixels.grey(): Pixels {
    val levels = ByteArray(width * height)
    var to = 0
    for (row in 0 until height) {
        var from = start + row * rowStride
        repeat(width) {
            val luma = bytes[from].level * 19595 + bytes[from + channelStride].level * 38470 +
                bytes[from + 2 * channelStride].level * 7471
            levels[to++] = ((luma + 0x8000) shr 16).toByte()
            from += columnStride
        }
    }
    return Pixels(levels, width, height, columnStride = 1, channelStride = 0)
}

private val Byte.level: Int get() = toInt() and 0xFF
