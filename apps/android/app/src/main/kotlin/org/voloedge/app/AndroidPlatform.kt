package org.voloedge.app

import android.content.ContentResolver
import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.ColorSpace
import android.graphics.ImageDecoder
import android.net.Uri
import android.os.Build
import android.os.PowerManager
import androidx.camera.core.ImageProxy
import java.io.File
import java.io.IOException
import java.nio.ByteBuffer
import kotlin.math.max
import org.voloedge.core.AppInfo
import org.voloedge.core.Artifact
import org.voloedge.core.DeviceInfo
import org.voloedge.core.Engine
import org.voloedge.core.Pixels
import org.voloedge.core.Platform
import org.voloedge.core.Session
import org.voloedge.core.Thermal
import org.voloedge.core.peakMemoryBytes
import org.voloedge.core.whyNotOnAndroid

private const val ARTIFACT = "artifact" // the folder in the app's assets, and where it is installed

/** This phone. */
class AndroidPlatform(private val context: Context) : Platform {
    override val app = AppInfo("VoloEdge", BuildConfig.VERSION_NAME)

    override val device = DeviceInfo(
        manufacturer = Build.MANUFACTURER,
        model = Build.MODEL,
        os = "Android",
        osVersion = Build.VERSION.RELEASE,
        chip = if (Build.VERSION.SDK_INT >= 31) "${Build.SOC_MANUFACTURER} ${Build.SOC_MODEL}" else null,
    )

    /** The artifact that the app came with, on disk: ExecuTorch reads files and no assets. */
    fun session(): Session {
        val folder = File(context.filesDir, ARTIFACT)
        return Session(Artifact.install(folder, ::whyNotOnAndroid) { context.assets.open("$ARTIFACT/$it") }, this)
    }

    override fun load(artifact: Artifact, threads: Int?): Engine =
        ExecuTorchEngine(artifact.model, artifact.manifest.preprocessing, threads)

    override fun decode(file: File): Pixels = pixels(bitmap(ImageDecoder.createSource(file)))

    override fun thermal(): Thermal {
        if (Build.VERSION.SDK_INT < 29) return Thermal.UNKNOWN
        val manager: PowerManager? = context.getSystemService(PowerManager::class.java)
        return manager?.let { Thermal.of(it.currentThermalStatus) } ?: Thermal.UNKNOWN
    }

    override fun peakMemoryBytes(): Long? = peakMemoryBytes(File("/proc/self/status").readText())
}

/** The photograph at `uri`, upright. */
fun bitmap(resolver: ContentResolver, uri: Uri): Bitmap = bitmap(ImageDecoder.createSource(resolver, uri))

/** ImageDecoder applies EXIF's orientation itself, and leaves the colour profile's numbers as they are. */
private fun bitmap(source: ImageDecoder.Source): Bitmap =
    ImageDecoder.decodeBitmap(source) { decoder, _, _ -> decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE }

/** The bitmap's own numbers, transparency laid over white, as the host has it. */
fun pixels(bitmap: Bitmap): Pixels {
    val plain = if (bitmap.config == Bitmap.Config.ARGB_8888) bitmap else inBytes(bitmap)
    val opaque = if (plain.hasAlpha()) overWhite(plain) else plain
    val bytes = ByteArray(opaque.byteCount) // red, green, blue, alpha
    opaque.copyPixelsToBuffer(ByteBuffer.wrap(bytes))
    return Pixels(bytes, opaque.width, opaque.height, columnStride = 4, rowStride = opaque.rowBytes)
}

/** A camera's frame in RGBA, turned upright. */
fun pixels(frame: ImageProxy): Pixels {
    val plane = frame.planes[0]
    val bytes = ByteArray(plane.buffer.remaining()).also { plane.buffer.get(it) }
    return Pixels(bytes, frame.width, frame.height, columnStride = plane.pixelStride, rowStride = plane.rowStride)
        .upright(Pixels.orientationOfRotation(frame.imageInfo.rotationDegrees))
}

/** The bitmap, no larger than a screen needs it: a phone's largest photographs cannot be drawn. */
fun preview(bitmap: Bitmap): Bitmap {
    val scale = 1024f / max(bitmap.width, bitmap.height)
    if (scale >= 1) return bitmap
    val (width, height) = listOf(bitmap.width, bitmap.height).map { max((it * scale).toInt(), 1) }
    return Bitmap.createScaledBitmap(bitmap, width, height, true)
}

private fun inBytes(bitmap: Bitmap): Bitmap =
    bitmap.copy(Bitmap.Config.ARGB_8888, false) ?: throw IOException("the photograph's pixels cannot be read")

private fun overWhite(bitmap: Bitmap): Bitmap {
    val space = bitmap.colorSpace ?: ColorSpace.get(ColorSpace.Named.SRGB)
    val opaque = Bitmap.createBitmap(bitmap.width, bitmap.height, Bitmap.Config.ARGB_8888, false, space)
    Canvas(opaque).apply {
        drawColor(Color.WHITE)
        drawBitmap(bitmap, 0f, 0f, null)
    }
    return opaque
}
