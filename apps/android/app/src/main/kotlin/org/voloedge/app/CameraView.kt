package org.voloedge.app

import android.view.OrientationEventListener
import androidx.camera.core.CameraSelector.DEFAULT_BACK_CAMERA
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.Preview
import androidx.camera.core.UseCase
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.view.PreviewView
import androidx.compose.runtime.Composable
import androidx.compose.runtime.DisposableEffect
import androidx.compose.runtime.remember
import androidx.compose.ui.Modifier
import androidx.compose.ui.platform.LocalContext
import androidx.compose.ui.viewinterop.AndroidView
import androidx.core.content.ContextCompat
import androidx.lifecycle.compose.LocalLifecycleOwner

/** What the back camera sees; each frame that the model has time for is classified. */
@Composable
fun CameraView(model: AppModel, modifier: Modifier = Modifier) {
    val context = LocalContext.current
    val owner = LocalLifecycleOwner.current
    val view = remember { PreviewView(context) }
    DisposableEffect(owner) {
        val analysis = ImageAnalysis.Builder()
            .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
            .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
            .build()
        analysis.setAnalyzer(model.executor) { model.classify(it) }
        val preview = Preview.Builder().build()
        preview.setSurfaceProvider(view.surfaceProvider)
        // The screen may be locked upright, or turn by half without being made anew: how the phone is held counts.
        val held = object : OrientationEventListener(context) {
            override fun onOrientationChanged(orientation: Int) {
                if (orientation != ORIENTATION_UNKNOWN) {
                    analysis.targetRotation = UseCase.snapToSurfaceRotation(orientation)
                }
            }
        }
        held.enable()
        val provider = ProcessCameraProvider.getInstance(context)
        var gone = false
        val bind = Runnable {
            try {
                if (!gone) provider.get().bindToLifecycle(owner, DEFAULT_BACK_CAMERA, preview, analysis)
            } catch (error: Exception) { // no such camera, or another app has it
                model.stopCamera()
                model.report(error)
            }
        }
        provider.addListener(bind, ContextCompat.getMainExecutor(context))
        onDispose {
            gone = true
            held.disable()
            analysis.clearAnalyzer()
            if (provider.isDone) provider.get().unbind(preview, analysis)
        }
    }
    AndroidView({ view }, modifier)
}
