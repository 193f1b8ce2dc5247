package org.voloedge.core

import kotlin.math.abs
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class PreprocessTest {
    @Test
    fun everyGoldenPhotographBecomesTheHostsBytes() {
        val cases = Goldens.objects("photographs")
        assertTrue(cases.size > 20)
        for (case in cases) {
            val preprocessing = Manifest.preprocessing(case.getJSONObject("preprocessing"))
            val made = prepare(Goldens.pixels(case).upright(case.getInt("orientation")), preprocessing)
            val expected = Goldens.bytes(case.getJSONArray("expected"))
            assertEquals(expected.size, made.size)
            val difference = made.indices.maxOf { abs((made[it].toInt() and 255) - (expected[it].toInt() and 255)) }
            val what = "${case.getInt("width")} x ${case.getInt("height")}, $preprocessing"
            assertEquals("levels off in $what", 0, difference)
        }
    }

    @Test
    fun theInputIsPlanesOfRedGreenAndBlue() {
        val pixels = byteArrayOf(1, 2, 3, 4, 5, -1)
        assertArrayEquals(floatArrayOf(1f, 4f, 2f, 5f, 3f, 255f), toInput(pixels, 3), 0f)
        assertArrayEquals(floatArrayOf(1f, 2f, 3f, 4f, 5f, 255f), toInput(pixels, 1), 0f)
    }

    @Test
    fun aPhotographOfOneRowIsNotResizedWhole() {
        val pixels = Pixels(ByteArray(60_000 * 3) { 100 }, 60_000, 1)
        val made = prepare(pixels, Preprocessing(Size(512, 512), Size(512, 512))) // the whole: 30,720,000 x 512
        assertTrue(made.all { it.toInt() == 100 })
    }

    @Test
    fun aViewBeyondItsBytesIsRefused() {
        val bytes = ByteArray(3 * 4 * 3)
        Pixels(bytes, 3, 4)
        assertThrows(IllegalArgumentException::class.java) { Pixels(bytes, 4, 4) }
        assertThrows(IllegalArgumentException::class.java) { Pixels(bytes, 3, 4, start = 1) }
        assertThrows(IllegalArgumentException::class.java) { Pixels(bytes, 3, 4, channelStride = -1) }
        assertThrows(IllegalArgumentException::class.java) { Pixels(bytes, 0, 4) }
    }

    @Test
    fun rotationsAreOrientations() {
        val pixels = Pixels(byteArrayOf(1, 1, 1, 2, 2, 2), 2, 1) // 1 2
        fun turned(degrees: Int): List<Int> {
            val view = pixels.upright(Pixels.orientationOfRotation(degrees))
            return (0 until view.height).flatMap { y ->
                (0 until view.width).map { x -> view.start + y * view.rowStride + x * view.columnStride }
                    .map { view.bytes[it].toInt() }
            } + view.height
        }
        assertEquals(listOf(1, 2, 1), turned(0))
        assertEquals(listOf(1, 2, 2), turned(90)) // clockwise: the left comes up
        assertEquals(listOf(2, 1, 1), turned(180))
        assertEquals(listOf(2, 1, 2), turned(-90))
    }
}
