package org.voloedge.core

import kotlin.math.exp

/** A class, or a label on its own, and its probability, 0..1. */
data class Guess(val index: Int, val label: String, val probability: Double)

/** What makes probabilities of logits: of classes that exclude each other, or of each label on its own. */
enum class Activation {
    SOFTMAX, SIGMOID;

    /** Whether two logits a class say the same: the same class, or the same labels, each from one half on. */
    fun agree(logits: FloatArray, others: FloatArray): Boolean = when (this) {
        SOFTMAX -> logits.largestIndex() == others.largestIndex()
        SIGMOID -> logits.indices.all { (logits[it] >= 0) == (others[it] >= 0) }
    }
}

/**
 * The `count` likeliest classes, the likeliest first; of equally likely ones the first in the list.
 *
 * By their logits: large ones differ where their sigmoids are both 1.
 */
fun likeliest(logits: FloatArray, labels: List<String>, activation: Activation, count: Int = 5): List<Guess> {
    val probabilities = if (activation == Activation.SOFTMAX) softmax(logits) else sigmoid(logits)
    return logits.indices.sortedByDescending { logits[it] + 0f } // stable; -0.0 would come after 0.0
        .take(count)
        .map { Guess(it, labels[it], probabilities[it]) }
}

/** Probabilities of finite logits. */
fun softmax(logits: FloatArray): DoubleArray {
    val largest = logits.max().toDouble()
    val exponents = DoubleArray(logits.size) { exp(logits[it] - largest) }
    val total = exponents.sum()
    return DoubleArray(logits.size) { exponents[it] / total }
}

/** Probabilities of finite logits, each on its own. */
fun sigmoid(logits: FloatArray): DoubleArray = DoubleArray(logits.size) { 1 / (1 + exp(-logits[it].toDouble())) }

/** The index of the largest logit, the first of equal ones. */
internal fun FloatArray.largestIndex(): Int = indices.maxBy { this[it] + 0f } // -0.0 would be less than 0.0
