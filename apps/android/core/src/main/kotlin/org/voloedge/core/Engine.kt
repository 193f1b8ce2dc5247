package org.voloedge.core

/** What computes the model: names of the results file's `engine`. */
data class EngineInfo(val name: String, val version: String?, val compute: String, val threads: Int?)

/**
 * What the model gave.
 *
 * @property milliseconds that the model alone took: not what brings the input into the runtime's form, nor the logits
 * out of it.
 */
class Answer(val logits: FloatArray, val milliseconds: Double)

/** A model in memory. One thread at a time. */
interface Engine : AutoCloseable {
    val info: EngineInfo

    /** @param input channels x height x width floats in 0..255. */
    fun run(input: FloatArray): Answer
}

/**
 * What a photograph shows, and how long that took.
 *
 * @property activation what the guesses' probabilities are.
 * @property prepareMs all but the model: resizing, and bringing the input into the runtime's form.
 */
data class Classification(
    val guesses: List<Guess>,
    val activation: Activation,
    val prepareMs: Double,
    val modelMs: Double,
)

/** The likeliest classes of an upright image. */
fun classify(image: Pixels, artifact: Artifact, engine: Engine): Classification {
    val (preprocessing, activation) = artifact.manifest.run { preprocessing to activation }
    val (answer, elapsed) = timed { engine.run(toInput(prepare(image, preprocessing), preprocessing.channels)) }
    val (logits, labels) = answer.logits to artifact.labels
    check(logits.size == labels.size) { "the model gave ${logits.size} logits for ${labels.size} classes" }
    check(logits.all { it.isFinite() }) { "the model gave logits that are no numbers: run the self-test" }
    val guesses = likeliest(logits, labels, activation)
    return Classification(guesses, activation, elapsed - answer.milliseconds, answer.milliseconds)
}
