package org.voloedge.core

import java.io.File
import kotlin.math.abs
import kotlin.math.sqrt

/** How far a tensor may be from the host's, in levels of 255: what two correct roundings can differ by. */
const val TENSOR_TOLERANCE = 1.0

/**
 * What a known photograph gave.
 *
 * @property name its path within the artifact.
 * @property tensorMaxDifference of the device's tensor from the host's, in levels of 0..255.
 * @property logitsRelativeError |device - host| / |host|, in the 2-norm.
 * @property expected the host's class. @property predicted the device's class.
 * @property agrees whether both say the same class, or of independent labels the same ones.
 */
data class CaseResult(
    val name: String,
    val tensorMaxDifference: Double,
    val logitsRelativeError: Double,
    val expected: Int,
    val predicted: Int,
    val agrees: Boolean,
    val passed: Boolean,
)

/**
 * Whether the device computes what the host did.
 *
 * @property passed every tensor is within [TENSOR_TOLERANCE] and `relativeError` within `tolerance`.
 * @property relativeError of the logits of all cases together, which is what the manifest's tolerance is for.
 */
data class SelfTestResult(
    val passed: Boolean,
    val tolerance: Double,
    val relativeError: Double,
    val cases: List<CaseResult>,
)

/**
 * The artifact's known photographs from end to end: file, preprocessing, model.
 *
 * @param decode the upright pixels of an image file, which only the platform can tell.
 */
fun selfTest(artifact: Artifact, engine: Engine, decode: (File) -> Pixels): SelfTestResult {
    val manifest = artifact.manifest
    var difference = 0.0
    var reference = 0.0
    val cases = manifest.cases.map { case ->
        val pixels = prepare(decode(artifact.file(case.photo)), manifest.preprocessing)
        val input = toInput(pixels, manifest.preprocessing.channels)
        val tensor = artifact.floats(case.tensor)
        check(tensor.size == input.size) { "${case.tensor} is not of the model's size" }
        val expected = artifact.floats(case.logits)
        val logits = engine.run(input).logits
        check(logits.size == expected.size) { "the model gave ${logits.size} logits, the host ${expected.size}" }

        val caseDifference = expected.indices.sumOf { square(logits[it].toDouble() - expected[it]) }
        val caseReference = expected.sumOf { square(it.toDouble()) }
        difference += caseDifference
        reference += caseReference
        val tensorDifference = input.indices.maxOf { abs(input[it] - tensor[it]) }.toDouble()
        val error = relativeError(caseDifference, caseReference)
        CaseResult(
            name = case.photo,
            tensorMaxDifference = tensorDifference,
            logitsRelativeError = error,
            expected = expected.largestIndex(),
            predicted = logits.largestIndex(),
            agrees = manifest.activation.agree(logits, expected),
            passed = tensorDifference <= TENSOR_TOLERANCE && error <= manifest.tolerance,
        )
    }
    val error = relativeError(difference, reference)
    val passed = cases.isNotEmpty() && error <= manifest.tolerance &&
        cases.all { it.tensorMaxDifference <= TENSOR_TOLERANCE }
    return SelfTestResult(passed, manifest.tolerance, error, cases)
}

/** The largest double stands for what is not finite: JSON has no infinity. */
private fun relativeError(difference: Double, reference: Double): Double =
    sqrt(difference / reference).let { if (it.isFinite()) it else Double.MAX_VALUE }

private fun square(value: Double) = value * value
