package org.voloedge.app

import android.Manifest.permission.CAMERA
import androidx.activity.compose.rememberLauncherForActivityResult
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts
import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia.ImageOnly
import androidx.compose.foundation.Image
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.height
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.Button
import androidx.compose.material3.FilterChip
import androidx.compose.material3.LinearProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedButton
import androidx.compose.material3.Scaffold
import androidx.compose.material3.Tab
import androidx.compose.material3.TabRow
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.SideEffect
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableIntStateOf
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.saveable.rememberSaveable
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.asImageBitmap
import androidx.compose.ui.platform.LocalContext
import androidx.compose.ui.platform.LocalView
import androidx.compose.ui.semantics.clearAndSetSemantics
import androidx.compose.ui.semantics.semantics
import androidx.compose.ui.text.font.FontFamily
import androidx.compose.ui.unit.dp
import java.util.Locale
import org.voloedge.core.Activation
import org.voloedge.core.Classification
import org.voloedge.core.Parity

private val TABS = listOf("Classify", "Self-test", "Benchmark", "About")
private val THREADS = listOf(null, 1, 2, 4)

/** The four screens. */
@Composable
fun App(model: AppModel) {
    var tab by rememberSaveable { mutableIntStateOf(0) }
    val view = LocalView.current
    val awake = model.busy || (model.camera && tab == 0) // a locked phone measures nothing
    SideEffect { view.keepScreenOn = awake }
    Scaffold { padding ->
        Column(Modifier.padding(padding).fillMaxSize()) {
            TabRow(tab) {
                TABS.forEachIndexed { index, title ->
                    Tab(selected = tab == index, onClick = { tab = index }, text = { Text(title, maxLines = 1) })
                }
            }
            val timing = model.runsDone != null // what moves on the screen takes the model's time
            if (model.busy && !timing) LinearProgressIndicator(Modifier.fillMaxWidth())
            Column(
                Modifier.fillMaxSize().verticalScroll(rememberScrollState()).padding(16.dp),
                verticalArrangement = Arrangement.spacedBy(12.dp),
            ) {
                model.problem?.let { Text(it, color = MaterialTheme.colorScheme.error) }
                when (tab) {
                    0 -> Classify(model)
                    1 -> SelfTest(model)
                    2 -> Benchmark(model)
                    else -> About(model)
                }
            }
        }
    }
}

@Composable
private fun Classify(model: AppModel) {
    val context = LocalContext.current
    var denied by remember { mutableStateOf(false) }
    val pick = rememberLauncherForActivityResult(ActivityResultContracts.PickVisualMedia()) { uri ->
        if (uri != null) model.classify(uri)
    }
    val ask = rememberLauncherForActivityResult(ActivityResultContracts.RequestPermission()) { allowed ->
        denied = !allowed
        if (allowed) model.startCamera()
    }
    Row(horizontalArrangement = Arrangement.spacedBy(12.dp)) {
        Button({ pick.launch(PickVisualMediaRequest(ImageOnly)) }, enabled = !model.busy) { Text("Photo") }
        if (model.camera) {
            OutlinedButton(model::stopCamera) { Text("Stop camera") }
        } else {
            OutlinedButton({ ask.launch(CAMERA) }) { Text("Camera") } // asks nothing where it is allowed
        }
    }
    if (denied) {
        Text("The camera is not allowed.")
        OutlinedButton({ openSettings(context) }) { Text("Open settings") }
    }
    if (model.camera) {
        CameraView(model, Modifier.fillMaxWidth().height(360.dp))
    } else {
        model.photo?.let {
            Image(it.asImageBitmap(), "The photograph", Modifier.fillMaxWidth().height(360.dp))
        }
    }
    model.classification?.let { Guesses(it) }
}

@Composable
private fun Guesses(classification: Classification) {
    if (classification.activation == Activation.SIGMOID) Text("The probability of each label on its own")
    for (guess in classification.guesses) {
        Text("%5.1f %%  %s".form(100 * guess.probability, guess.label), fontFamily = FontFamily.Monospace)
        LinearProgressIndicator(
            progress = { guess.probability.toFloat() },
            modifier = Modifier.fillMaxWidth().clearAndSetSemantics {}, // the line above says it
        )
    }
    Text("%.1f ms to prepare, %.1f ms to run".form(classification.prepareMs, classification.modelMs))
}

@Composable
private fun SelfTest(model: AppModel) {
    Text("The photographs in the artifact, from file to logits, held against what the host measured.")
    Button(model::runSelfTest, enabled = !model.busy) { Text("Run the self-test") }
    val result = model.selfTest ?: return
    Text(
        if (result.passed) "Passed" else "Failed",
        style = MaterialTheme.typography.headlineSmall,
        color = if (result.passed) MaterialTheme.colorScheme.primary else MaterialTheme.colorScheme.error,
    )
    Text("relative error of the logits %.1e, of %.1e allowed".form(result.relativeError, result.tolerance))
    for (case in result.cases) {
        val agrees = if (case.agrees) "same answer" else "another answer"
        val numbers = "%.0f levels, %.1e".form(case.tensorMaxDifference, case.logitsRelativeError)
        Text("${case.name}: $numbers, $agrees", fontFamily = FontFamily.Monospace)
    }
    Share(model)
}

@Composable
private fun Benchmark(model: AppModel) {
    Text("${model.options.runs} runs of the model alone after ${model.options.warmup} to warm up.")
    Row(horizontalArrangement = Arrangement.spacedBy(8.dp)) {
        for (number in THREADS) {
            FilterChip(
                selected = model.threads == number,
                onClick = { model.choose(number) },
                label = { Text(threads(number)) },
                enabled = !model.busy,
            )
        }
    }
    Button(model::runBenchmark, enabled = !model.busy) { Text("Run the benchmark") }
    model.runsDone?.let { Text("$it of ${model.options.runs} runs") }
    val result = model.benchmark ?: return
    val latency = result.latency
    val lines = listOf(
        "median" to "%.2f ms".form(latency.median),
        "90 %" to "%.2f ms".form(latency.p90),
        "99 %" to "%.2f ms".form(latency.p99),
        "mean" to "%.2f ms".form(latency.mean),
        "fastest" to "%.2f ms".form(latency.min),
        "loading" to "%.0f ms".form(result.loadMs),
        "peak memory" to (result.peakMemoryBytes?.let { "%.0f MB".form(it / 1e6) } ?: "not told"),
        "thermal state" to "${result.thermalBefore} to ${result.thermalAfter}".lowercase(),
    )
    Lines(lines)
    Share(model)
}

private fun threads(number: Int?): String = when (number) {
    null -> "default"
    1 -> "1 thread"
    else -> "$number threads"
}

@Composable
private fun About(model: AppModel) {
    val manifest = model.manifest ?: return
    val kind = if (manifest.activation == Activation.SIGMOID) "independent labels" else "classes"
    Lines(
        listOf(
            "model" to manifest.model,
            "parameters" to "%.1f million".form(manifest.parameters / 1e6),
            "weights" to manifest.weights,
            "image" to "${manifest.imageSize.height} x ${manifest.imageSize.width}",
            kind to "${manifest.numClasses}",
            "scheme" to manifest.scheme,
            "file" to "%.1f MB for ${manifest.target}, ${manifest.backend}".form(manifest.file("model").bytes / 1e6),
        ) + manifest.parity.flatMap(::parityLines) + manifest.tools.toList(),
    )
}

/** The file against the float model, on one processor. */
private fun parityLines(parity: Parity): List<Pair<String, String>> {
    val what = if (parity.labelsAgreement == null) "top-1 agrees" else "labels agree"
    val share = parity.labelsAgreement ?: parity.top1Agreement
    return listOf(
        "parity on ${parity.processor ?: "no processor"}" to when (parity.passed) {
            null -> "not run"
            true -> "passed in ${parity.runtime}"
            false -> "failed in ${parity.runtime}"
        },
        "relative error" to (parity.relativeError?.let { "%.1e".form(it) } ?: "not known"),
        what to (share?.let { "%.1f %% of ${parity.images} photographs".form(100 * it) } ?: "not known"),
    )
}

@Composable
private fun Share(model: AppModel) {
    val context = LocalContext.current
    OutlinedButton({ model.withResults { share(context, it) } }, enabled = !model.busy) { Text("Share the results") }
}

@Composable
private fun Lines(lines: List<Pair<String, String>>) {
    for ((name, value) in lines) {
        val together = Modifier.fillMaxWidth().semantics(mergeDescendants = true) {} // read as one
        Row(together, horizontalArrangement = Arrangement.SpaceBetween) {
            Text(name)
            Text(value, fontFamily = FontFamily.Monospace)
        }
    }
}

private fun String.form(vararg values: Any): String = format(Locale.ROOT, *values)
