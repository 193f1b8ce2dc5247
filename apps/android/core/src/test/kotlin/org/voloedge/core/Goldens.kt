package org.voloedge.core

import java.awt.image.BufferedImage
import java.io.File
import javax.imageio.ImageIO
import org.json.JSONArray
import org.json.JSONObject

/** What the host computed: see apps/goldens.py. */
object Goldens {
    private val folder = File(checkNotNull(javaClass.getResource("/goldens")) { "no goldens" }.toURI())
    private val bytes = File(folder, "goldens.bin").readBytes()
    val index = JSONObject(File(folder, "goldens.json").readText())
    val artifact = File(folder, "artifact")

    fun objects(name: String): List<JSONObject> = index.getJSONArray(name).objects()

    /** The bytes that an [offset, length] names. */
    fun bytes(place: JSONArray): ByteArray = bytes.copyOfRange(place.getInt(0), place.getInt(0) + place.getInt(1))

    /** The pixels of an image of `layout`, as they lie in memory. */
    fun pixels(case: JSONObject): Pixels {
        val input = bytes(case.getJSONArray("input"))
        val (width, height) = case.getInt("width") to case.getInt("height")
        return when (val layout = case.getString("layout")) {
            "rgb" -> Pixels(input, width, height)
            "rgba" -> Pixels(input, width, height, columnStride = 4)
            "bgra" -> Pixels(input, width, height, start = 2, columnStride = 4, channelStride = -1)
            "grey" -> Pixels(input, width, height, columnStride = 1, channelStride = 0)
            else -> error("no layout $layout")
        }
    }

    /** The pixels of a PNG. */
    fun decode(file: File): Pixels {
        val image: BufferedImage = ImageIO.read(file)
        val packed = image.getRGB(0, 0, image.width, image.height, null, 0, image.width)
        val bytes = packed.flatMap { listOf((it shr 16).toByte(), (it shr 8).toByte(), it.toByte()) }
        return Pixels(bytes.toByteArray(), image.width, image.height)
    }

    /** An engine that gives `answers` in turn, over and over: the first in a millisecond, the second in two. */
    fun engine(answers: List<FloatArray>): Engine = object : Engine {
        private var runs = 0
        override val info = EngineInfo("ExecuTorch", null, "xnnpack", 2)
        override fun run(input: FloatArray) = Answer(answers[runs++ % answers.size], runs.toDouble())
        override fun close() = Unit
    }
}

internal fun JSONArray.doubles(): List<Double> = (0 until length()).map { getDouble(it) }
