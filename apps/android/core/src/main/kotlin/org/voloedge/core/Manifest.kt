package org.voloedge.core

import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject

/** An artifact that this app cannot use: one line that says what is wrong and what to do. */
class ArtifactException(message: String, cause: Throwable? = null) : Exception(message, cause)

/** In pixels. */
data class Size(val height: Int, val width: Int)

/** Pillow's filters, and how far each reaches, in pixels of the coarser of the two images. */
enum class Interpolation(internal val reach: Double) { BICUBIC(2.0), BILINEAR(1.0) }

/**
 * How a photograph becomes the model's input: see [prepare].
 *
 * @property resizeTo what the photograph is scaled to: a box to just cover, keeping its shape, or its very size.
 * @property crop the centre crop; where it is larger than the resized photograph, zeros.
 * @property squash whether the photograph is scaled to exactly [resizeTo], whatever its shape is.
 * @property grey whether the photograph is made grey first, and the input has one channel and not three.
 */
data class Preprocessing(
    val resizeTo: Size,
    val crop: Size,
    val interpolation: Interpolation = Interpolation.BICUBIC,
    val squash: Boolean = false,
    val grey: Boolean = false,
) {
    /** Of the model's input. */
    val channels: Int get() = if (grey) 1 else 3
}

/** A file of the artifact: its path within it, with forward slashes, its size and its hash. */
data class FileInfo(val path: String, val bytes: Long, val sha256: String)

/**
 * The saved file against the float model, as the host measured it on one processor; null where it could not.
 *
 * @property top1Agreement share of the photographs that both put in the same class; null where labels are independent.
 * @property labelsAgreement of independent labels, share of the photographs of which both say the same ones.
 */
data class Parity(
    val images: Int,
    val runtime: String?,
    val processor: String?,
    val relativeError: Double?,
    val top1Agreement: Double?,
    val labelsAgreement: Double?,
    val tolerance: Double,
    val passed: Boolean?,
)

/** A photograph and what it must give; paths within the artifact. */
data class KnownCase(val photo: String, val tensor: String, val logits: String, val label: String)

/**
 * What an app needs of `manifest.json`.
 *
 * @property activation what makes probabilities of the logits.
 * @property target "executorch", "coreml" or "coreai".
 * @property backend what computes it: "xnnpack", "coreml" or "coreai".
 * @property scheme how the numbers are stored and computed.
 * @property files by role: "model", "labels", "selftest/0/photo" and so on.
 * @property cases the self-test.
 * @property logitsFrom what gave the self-test's logits.
 * @property tolerance the largest relative error of all the self-test's logits that passes.
 * @property tools versions of what made the artifact.
 */
data class Manifest(
    val model: String,
    val parameters: Long,
    val imageSize: Size,
    val numClasses: Int,
    val activation: Activation,
    val weights: String,
    val target: String,
    val backend: String,
    val scheme: String,
    val preprocessing: Preprocessing,
    val files: Map<String, FileInfo>,
    val parity: List<Parity>,
    val cases: List<KnownCase>,
    val logitsFrom: String,
    val tolerance: Double,
    val tools: Map<String, String>,
) {
    /** The file with this role. */
    fun file(role: String): FileInfo = files[role] ?: throw ArtifactException("manifest.json names no file for '$role'")

    companion object {
        const val NAME = "manifest.json"
        const val FORMAT_VERSION = 3

        /** The manifest in `text`; [ArtifactException] where it is damaged, or says what this app does not do. */
        fun parse(text: String): Manifest =
            try {
                read(JSONObject(text))
            } catch (error: JSONException) {
                throw ArtifactException("$NAME is damaged: ${error.message}; convert the model again", error)
            }

        private fun read(json: JSONObject): Manifest {
            val version = json.getInt("format_version")
            if (version != FORMAT_VERSION) {
                val mend = if (version > FORMAT_VERSION) "update the app" else "convert the model again"
                throw ArtifactException("$NAME is of format $version, this app reads $FORMAT_VERSION: $mend")
            }
            val model = json.getJSONObject("model")
            val selftest = json.getJSONObject("selftest")
            val manifest = Manifest(
                model = model.getString("name"),
                parameters = model.getLong("parameters"),
                imageSize = size(model.getJSONArray("image_size")),
                numClasses = model.getInt("num_classes"),
                activation = model.known("activation", Activation.entries.associateBy { it.name.lowercase() }),
                weights = model.getString("weights"),
                target = json.getString("target"),
                backend = json.getString("backend"),
                scheme = json.getJSONObject("quantization").getString("scheme"),
                preprocessing = preprocessing(json.getJSONObject("preprocessing")),
                files = json.getJSONObject("files").map { file(getJSONObject(it)) },
                parity = json.getJSONArray("parity").objects().map(::parity),
                cases = selftest.getJSONArray("cases").objects().map(::case),
                logitsFrom = selftest.getString("logits_from"),
                tolerance = selftest.getDouble("tolerance"),
                tools = json.getJSONObject("tools").map { getString(it) },
            )
            if (manifest.preprocessing.crop != manifest.imageSize) {
                throw ArtifactException("$NAME: preprocessing.crop is not model.image_size: convert the model again")
            }
            if (manifest.numClasses == 1 && manifest.activation == Activation.SOFTMAX) {
                throw ArtifactException("$NAME: the softmax of one class is always 100 %: convert the model again")
            }
            return manifest
        }

        /** `preprocessing`, refused where it says what [prepare] does not do. */
        internal fun preprocessing(json: JSONObject): Preprocessing {
            val range = json.getJSONArray("input_range")
            val usual = json.getBoolean("antialias") &&
                json.getString("layout") == "NCHW" && json.getBoolean("normalization_in_model") &&
                range.length() == 2 && range.getDouble(0) == 0.0 && range.getDouble(1) == 255.0
            if (!usual) throw ArtifactException("$NAME: its preprocessing is not one this app knows: update the app")
            return Preprocessing(
                resizeTo = size(json.getJSONArray("resize_to")),
                crop = size(json.getJSONArray("crop")),
                interpolation = json.known("interpolation", Interpolation.entries.associateBy { it.name.lowercase() }),
                squash = json.known("crop_mode", mapOf("center" to false, "squash" to true)),
                grey = json.known("color", mapOf("RGB" to false, "L" to true)),
            )
        }

        /** The one of `values` that is named there; [ArtifactException] where none is called so. */
        private fun <T> JSONObject.known(key: String, values: Map<String, T>): T = getString(key).let {
            values[it] ?: throw ArtifactException("$NAME: this app does not know the $key '$it': update the app")
        }

        private fun size(json: JSONArray): Size {
            val size = Size(json.getInt(0), json.getInt(1))
            if (json.length() != 2 || size.height < 1 || size.width < 1) {
                throw ArtifactException("$NAME: $json is no size in pixels: convert the model again")
            }
            return size
        }

        private fun file(json: JSONObject) =
            FileInfo(json.getString("path"), json.getLong("bytes"), json.getString("sha256"))

        private fun parity(json: JSONObject) = Parity(
            images = json.getInt("images"),
            runtime = json.ifSaid("runtime") { getString(it) },
            processor = json.ifSaid("processor") { getString(it) },
            relativeError = json.ifSaid("relative_error") { getDouble(it) },
            top1Agreement = json.ifSaid("top1_agreement") { getDouble(it) },
            labelsAgreement = json.ifSaid("labels_agreement") { getDouble(it) },
            tolerance = json.getDouble("tolerance"),
            passed = json.ifSaid("passed") { getBoolean(it) },
        )

        private fun case(json: JSONObject) = KnownCase(
            photo = json.getString("photo"),
            tensor = json.getString("tensor"),
            logits = json.getString("logits"),
            label = json.getString("label"),
        )

        private fun <T> JSONObject.ifSaid(key: String, read: JSONObject.(String) -> T): T? =
            if (isNull(key)) null else read(key)

        private fun <T> JSONObject.map(read: JSONObject.(String) -> T): Map<String, T> =
            keys().asSequence().map { it.toString() }.associateWith { read(it) }
    }
}

/** The objects in an array. */
internal fun JSONArray.objects(): List<JSONObject> = (0 until length()).map { getJSONObject(it) }
