package org.voloedge.core

/**
 * A view of 8-bit pixels in memory: red, green and blue of column `x` and row `y` are the bytes at
 * `start + y * rowStride + x * columnStride`, and `channelStride` and twice that further on.
 *
 * Strides say all that differs between what platforms hand over: RGB, RGBA, BGRA (start 2, channelStride -1), grey
 * (channelStride 0), padded rows; and a photograph is turned without copying it.
 */
class Pixels(
    val bytes: ByteArray,
    val width: Int,
    val height: Int,
    val start: Int = 0,
    val columnStride: Int = 3,
    val rowStride: Int = columnStride * width,
    val channelStride: Int = 1,
) {
    init {
        require(width > 0 && height > 0) { "an image of $width x $height pixels" }
        val reach = listOf((width - 1L) * columnStride, (height - 1L) * rowStride, 2L * channelStride)
        val lowest = start + reach.sumOf { minOf(it, 0L) }
        val highest = start + reach.sumOf { maxOf(it, 0L) }
        require(lowest >= 0 && highest < bytes.size) { "$width x $height pixels are not in ${bytes.size} bytes" }
    }

    /**
     * The image as a person sees it.
     *
     * @param orientation of EXIF, 1 to 8: how the stored rows and columns lie. Anything else is 1, as Pillow has it.
     */
    fun upright(orientation: Int): Pixels {
        val columnsBackwards = orientation in setOf(2, 3, 7, 8)
        val rowsBackwards = orientation in setOf(3, 4, 6, 7)
        val first = start + (if (columnsBackwards) (width - 1) * columnStride else 0) +
            (if (rowsBackwards) (height - 1) * rowStride else 0)
        val column = if (columnsBackwards) -columnStride else columnStride
        val row = if (rowsBackwards) -rowStride else rowStride
        return if (orientation in 5..8) {
            Pixels(bytes, height, width, first, row, column, channelStride)
        } else {
            Pixels(bytes, width, height, first, column, row, channelStride)
        }
    }

    companion object {
        /** EXIF's orientation of an image to be turned clockwise by `degrees`, a multiple of 90, to be upright. */
        fun orientationOfRotation(degrees: Int): Int = when (degrees.mod(360)) {
            90 -> 6
            180 -> 3
            270 -> 8
            else -> 1
        }
    }
}
