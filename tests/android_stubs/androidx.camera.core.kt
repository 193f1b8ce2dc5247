/* camera-core 1.4 */
package androidx.camera.core

import java.nio.ByteBuffer
import java.util.concurrent.Executor

interface Camera

// A class in Java, whose constants Kotlin imports as it imports an object's members.
object CameraSelector {
    val DEFAULT_BACK_CAMERA: CameraSelector get() = TODO()
}

abstract class UseCase {
    companion object {
        /** @param orientation degrees, 0..359 */
        @JvmStatic
        fun snapToSurfaceRotation(orientation: Int): Int = TODO()
    }
}

class ImageAnalysis : UseCase() {
    fun interface Analyzer {
        fun analyze(image: ImageProxy)
    }

    class Builder {
        fun build(): ImageAnalysis = TODO()

        fun setBackpressureStrategy(strategy: Int): Builder = TODO()

        fun setOutputImageFormat(outputImageFormat: Int): Builder = TODO()
    }

    var targetRotation: Int
        get() = TODO()
        set(_) = TODO()

    fun clearAnalyzer(): Unit = TODO()

    fun setAnalyzer(executor: Executor, analyzer: Analyzer): Unit = TODO()

    companion object {
        const val OUTPUT_IMAGE_FORMAT_RGBA_8888 = 2
        const val STRATEGY_KEEP_ONLY_LATEST = 0
    }
}

interface ImageInfo {
    val rotationDegrees: Int
}

interface ImageProxy : AutoCloseable {
    interface PlaneProxy {
        val buffer: ByteBuffer
        val pixelStride: Int
        val rowStride: Int
    }

    val height: Int
    val imageInfo: ImageInfo
    val planes: Array<PlaneProxy>
    val width: Int

    override fun close()
}

class Preview : UseCase() {
    fun interface SurfaceProvider {
        fun onSurfaceRequested(request: SurfaceRequest)
    }

    class Builder {
        fun build(): Preview = TODO()
    }

    fun setSurfaceProvider(surfaceProvider: SurfaceProvider?): Unit = TODO()
}

class SurfaceRequest
