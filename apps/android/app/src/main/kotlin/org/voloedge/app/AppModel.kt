package org.voloedge.app

import android.app.Application
import android.graphics.Bitmap
import android.net.Uri
import androidx.camera.core.ImageProxy
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableIntStateOf
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
import org.voloedge.core.MeasureOptions
import org.voloedge.core.SelfTestResult
import org.voloedge.core.Session

/** What the screens show, and the one thread that the model is used on. */
class AppModel(application: Application) : AndroidViewModel(application) {
    private val platform = AndroidPlatform(application)
    private val dispatcher = Executors.newSingleThreadExecutor().asCoroutineDispatcher()
    private var session: Session? = null // of that thread
    private var tasks by mutableIntStateOf(0) // going on there, or waiting for it

    val options = MeasureOptions()

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

    /** Whether the camera's image is shown, and each frame that the model has time for is classified. */
    var camera: Boolean by mutableStateOf(false)
        private set

    /** Runs done of the benchmark that is going on, as it was told last. */
    var runsDone: Int? by mutableStateOf(null)
        private set
    val busy get() = tasks > 0
    var problem: String? by mutableStateOf(null)
        private set

    init {
        work { manifest = it.artifact.manifest }
    }

    fun classify(uri: Uri) {
        stopCamera()
        work { session ->
            val bitmap = bitmap(getApplication<Application>().contentResolver, uri)
            photo = preview(bitmap)
            classification = session.classify(pixels(bitmap))
        }
    }

    /** A frame of the camera, on the model's thread: CameraX drops those that come before it is closed. */
    fun classify(frame: ImageProxy) = frame.use {
        val session = session ?: return@use
        try {
            val made = session.classify(pixels(frame))
            viewModelScope.launch { if (camera) classification = made } // unless it was stopped meanwhile
        } catch (error: Exception) {
            viewModelScope.launch { stopCamera() } // the next frame would not fare better
            report(error)
        }
    }

    fun report(error: Exception) {
        problem = error.message ?: error.toString()
    }

    fun startCamera() = showCamera(true)

    fun stopCamera() = showCamera(false)

    /** What is shown of a photograph, or of the camera, is not of what comes next. */
    private fun showCamera(shown: Boolean) {
        camera = shown
        photo = null
        classification = null
    }

    fun choose(threads: Int?) = work { session ->
        session.choose(threads)
        this.threads = threads
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
            benchmark = session.runBenchmark(options.warmup, options.runs) { runsDone = it }
        } finally {
            runsDone = null
        }
    }

    /** The results file's text, for `use`, which may write files: it is not called on the screen's thread. */
    fun withResults(use: (String) -> Unit) = work { session -> use(session.results().toJson()) }

    /** On the model's thread, one at a time; what goes wrong is shown. */
    private fun work(task: (Session) -> Unit) {
        tasks++
        problem = null
        viewModelScope.launch {
            withContext(dispatcher) {
                try {
                    task(session ?: platform.session().also { session = it })
                } catch (error: Exception) {
                    report(error)
                } catch (error: OutOfMemoryError) {
                    problem = "the phone's memory is too small for this: choose a smaller photograph"
                }
            }
            tasks--
        }
    }

    override fun onCleared() {
        dispatcher.executor.execute { session?.close() }
        dispatcher.close()
    }
}
