package android.graphics

import android.content.ContentResolver
import android.net.Uri
import java.io.File
import java.nio.Buffer

class Bitmap {
    enum class Config { ARGB_8888 }

    val byteCount: Int get() = TODO()
    val colorSpace: ColorSpace? get() = TODO()
    val config: Config? get() = TODO()
    val height: Int get() = TODO()
    val rowBytes: Int get() = TODO()
    val width: Int get() = TODO()

    /** Null where it cannot be copied. */
    fun copy(config: Config, isMutable: Boolean): Bitmap? = TODO()

    fun copyPixelsToBuffer(dst: Buffer): Unit = TODO()

    fun hasAlpha(): Boolean = TODO()

    companion object {
        @JvmStatic
        fun createBitmap(
            width: Int,
            height: Int,
            config: Config,
            hasAlpha: Boolean,
            colorSpace: ColorSpace,
        ): Bitmap = TODO()

        @JvmStatic
        fun createScaledBitmap(src: Bitmap, dstWidth: Int, dstHeight: Int, filter: Boolean): Bitmap = TODO()
    }
}

class Canvas(bitmap: Bitmap) {
    fun drawBitmap(bitmap: Bitmap, left: Float, top: Float, paint: Paint?): Unit = TODO()

    fun drawColor(color: Int): Unit = TODO()
}

class Paint

class Color {
    companion object {
        const val WHITE = -0x1
    }
}

abstract class ColorSpace {
    enum class Named { SRGB }

    companion object {
        @JvmStatic
        fun get(name: Named): ColorSpace = TODO()
    }
}

/** API 28. */
class ImageDecoder {
    abstract class Source

    class ImageInfo

    fun interface OnHeaderDecodedListener {
        fun onHeaderDecoded(decoder: ImageDecoder, info: ImageInfo, source: Source)
    }

    var allocator: Int
        get() = TODO()
        set(_) = TODO()

    companion object {
        const val ALLOCATOR_SOFTWARE = 1

        @JvmStatic
        fun createSource(file: File): Source = TODO()

        @JvmStatic
        fun createSource(cr: ContentResolver, uri: Uri): Source = TODO()

        /** @throws java.io.IOException */
        @JvmStatic
        fun decodeBitmap(src: Source, listener: OnHeaderDecodedListener): Bitmap = TODO()
    }
}
