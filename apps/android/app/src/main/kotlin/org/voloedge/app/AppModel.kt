package org.voloedge.app

import android.app.Application
import android.graphics.Bitmap
import android.net.Uri
import androidx.camera.core.ImageProxy
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.setValue
import androidx.lifecycle.AndroidViewModel
import androidx.lifecycle.viewModelScope
import java.util.concurrent.Executors
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.voloedge.core.BenchmarkResult
import org.voloedge.core.Classification
import org.voloedge.core.Manifest
import org.voloedge.core.Pixels
import org.voloedge.core.SelfTestResult
import org.voloedge.core.Session

/** What the screens show, and the one thread that the model is used on. */
class AppModel(application: Application) : AndroidViewModel(application) {
    private val platform = AndroidPlatform(application)
    private val dispatcher = Executors.newSingleThreadExecutor().asCoroutineDispatcher()
    private var session: Session? = null // of that thread

    /** Camera frames are classified there too. */
    val executor get() = dispatcher.executor

    var manifest: Manifest? by mutableStateOf(null)
        private set
    var threads: Int? by mutableStateOf(null)
        private set
    var photo: Bitmap? by mutableStateOf(null)
        private set
    var classification: Classification? by mutableStateOf(null)
        private set
    var selfTest: SelfTestResult? by mutableStateOf(null)
        private set
    var benchmark: BenchmarkResult? by mutableStateOf(null)
        private set

    /** Runs done of the benchmark that is going on. */
    var runsDone: Int? by mutableStateOf(null)
        private set
    var busy: Boolean by mutableStateOf(false)
        private set
    var problem: String? by mutableStateOf(null)
        private set

    init {
        work { manifest = it.artifact.manifest }
    }

    fun classify(uri: Uri) = work { session ->
        val bitmap = bitmap(getApplication<Application>().contentResolver, uri)
        photo = preview(bitmap)
        classification = null
        classification = session.classify(pixels(bitmap))
    }

    /** A frame of the camera, on the model's thread. */
    fun classify(frame: ImageProxy) = frame.use {
        val session = session ?: return@use
        val plane = frame.planes[0]
        val bytes = ByteArray(plane.buffer.remaining()).also { plane.buffer.get(it) }
        val stored = Pixels(
            bytes = bytes,
            width = frame.width,
            height = frame.height,
            columnStride = plane.pixelStride,
            rowStride = plane.rowStride,
        )
        try {
            val upright = stored.upright(Pixels.orientationOfRotation(frame.imageInfo.rotationDegrees))
            classification = session.classify(upright)
        } catch (error: Exception) {
            report(error)
        }
    }

    fun report(error: Exception) {
        problem = error.message ?: error.toString()
    }

    /** The camera comes or goes: what is shown of a photograph is not of it. */
    fun forgetPhoto() {
        photo = null
        classification = null
    }

    fun chooseThreads(number: Int?) = work { session ->
        session.threads = number
        threads = number
        selfTest = null
        benchmark = null
    }

    fun runSelfTest() = work { session ->
        selfTest = null
        selfTest = session.runSelfTest()
    }

    fun runBenchmark() = work { session ->
        benchmark = null
        runsDone = 0
        try {
            benchmark = session.runBenchmark(WARMUP, RUNS) { runsDone = it }
        } finally {
            runsDone = null
        }
    }

    /** The results file's text, for `use`. */
    fun withResults(use: (String) -> Unit) = work { session ->
        val text = session.results().toJson()
        viewModelScope.launch { use(text) }
    }

    /** On the model's thread, one at a time; what goes wrong is shown. */
    private fun work(task: (Session) -> Unit) {
        viewModelScope.launch {
            busy = true
            problem = null
            withContext(dispatcher) {
                try {
                    task(session ?: platform.session().also { session = it })
                } catch (error: Exception) {
                    report(error)
                } catch (error: OutOfMemoryError) {
                    problem = "this photograph is too large for the phone's memory"
                }
            }
            busy = false
        }
    }

    override fun onCleared() {
        dispatcher.executor.execute { session?.close() }
        dispatcher.close()
    }
}
