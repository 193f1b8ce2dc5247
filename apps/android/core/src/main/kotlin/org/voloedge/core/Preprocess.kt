/*
 * Photo -> tensor, as volo_edge/preprocess.py does it on the host, to the last bit.
 *
 * The platform's scalers do not agree with Pillow's, which VOLO's accuracies were measured with, so its filter is
 * computed here: a cubic with a = -0.5, widened by the reduction, over columns and then over rows, in fixed point,
 * with bytes between the two.
 */
package org.voloedge.core

import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min

private const val REACH = 2.0 // of the filter, in pixels of the coarser of the two images
private const val PRECISION = 22 // bits after the point of a weight: a byte times the weights' sum stays within 32

/** An image, resized and cropped: bytes of height x width x RGB, height and width being `preprocessing.crop`. */
fun prepare(image: Pixels, preprocessing: Preprocessing): ByteArray {
    val resized = covering(Size(image.height, image.width), preprocessing.resizeTo)
    val crop = preprocessing.crop
    val rows = centred(resized.height, crop.height)
    val columns = centred(resized.width, crop.width)
    val vertical = taps(image.height, resized.height, rows)
    val horizontal = taps(image.width, resized.width, columns)

    val firstRow = vertical.minOf { it.first }
    val narrow = narrowed(image, horizontal, firstRow, vertical.maxOf { it.last })
    val pixels = ByteArray(crop.height * crop.width * 3)
    val length = horizontal.size * 3
    for ((index, tap) in vertical.withIndex()) {
        val from = (tap.first - firstRow) * length
        val to = ((rows.padding + index) * crop.width + columns.padding) * 3
        for (offset in 0 until length) pixels[to + offset] = tap.sum(narrow, from + offset, length)
    }
    return pixels
}

/** What the model takes: floats 3 x height x width in 0..255, of what [prepare] gives. */
fun toInput(pixels: ByteArray): FloatArray {
    val area = pixels.size / 3
    return FloatArray(pixels.size) { pixels[it % area * 3 + it / area].level.toFloat() }
}

/** Rows `firstRow..lastRow` of `image`, filtered over their columns: bytes of row x `horizontal` x RGB. */
private fun narrowed(image: Pixels, horizontal: List<Taps>, firstRow: Int, lastRow: Int): ByteArray {
    val narrow = ByteArray((lastRow - firstRow + 1) * horizontal.size * 3)
    var to = 0
    for (row in firstRow..lastRow) {
        val from = image.start + row * image.rowStride
        for (tap in horizontal) {
            val left = from + tap.first * image.columnStride
            for (channel in 0 until 3) {
                narrow[to++] = tap.sum(image.bytes, left + channel * image.channelStride, image.columnStride)
            }
        }
    }
    return narrow
}

/** The size to resize `size` to so that it covers `box`: one side exactly, the other rounded down. */
private fun covering(size: Size, box: Size): Size {
    val (height, width) = size
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
private fun taps(side: Int, resized: Int, part: Part): List<Taps> {
    val scale = side.toDouble() / resized
    val widening = max(scale, 1.0)
    val reach = REACH * widening
    return List(part.count) { index ->
        val centre = (part.start + index + 0.5) * scale
        val first = max((centre - reach + 0.5).toInt(), 0)
        val end = min((centre + reach + 0.5).toInt(), side)
        val weights = DoubleArray(end - first) { cubic((first + it - centre + 0.5) * (1 / widening)) }
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

/** `weight` in fixed point, rounded half away from zero. */
private fun fixed(weight: Double): Int = (weight * (1 shl PRECISION) + (if (weight < 0) -0.5 else 0.5)).toInt()

private val Byte.level: Int get() = toInt() and 0xFF
