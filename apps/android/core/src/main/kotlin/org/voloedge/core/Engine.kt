package org.voloedge.core

/** What computes the model: names of the results file's `engine`. */
data class EngineInfo(val name: String, val version: String?, val compute: String, val threads: Int?)

/** A model in memory. One thread at a time. */
interface Engine : AutoCloseable {
    val info: EngineInfo

    /**
     * What runs the model on `input`, 3 x height x width floats in 0..255, and gives the logits: as often as it is
     * called. Laying the input out for the runtime is done by then, so that a run is of the model alone.
     */
    fun bind(input: FloatArray): () -> FloatArray
}

/** What a photograph shows, and the time that preparing it and the model took, in milliseconds. */
data class Classification(val guesses: List<Guess>, val prepareMs: Double, val modelMs: Double)

/** The likeliest classes of an upright image. */
fun classify(image: Pixels, artifact: Artifact, engine: Engine): Classification {
    val (run, prepareMs) = timed { engine.bind(toInput(prepare(image, artifact.manifest.preprocessing))) }
    val (logits, modelMs) = timed(run)
    val labels = artifact.labels
    check(logits.size == labels.size) { "the model gave ${logits.size} logits for ${labels.size} classes" }
    check(logits.all { it.isFinite() }) { "the model gave logits that are no numbers: run the self-test" }
    return Classification(likeliest(logits, labels), prepareMs, modelMs)
}
