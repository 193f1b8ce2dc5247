package org.voloedge.core

import kotlin.math.exp

/** A class and its probability, 0..1. */
data class Guess(val index: Int, val label: String, val probability: Double)

/** What makes probabilities of logits: of classes that exclude each other, or of each label on its own. */
enum class Activation { SOFTMAX, SIGMOID }

/** The `count` likeliest classes, the likeliest first; of equally likely ones the first in the list. */
fun likeliest(logits: FloatArray, labels: List<String>, activation: Activation, count: Int = 5): List<Guess> {
    val probabilities = if (activation == Activation.SOFTMAX) softmax(logits) else sigmoid(logits)
    return probabilities.indices.sortedByDescending { probabilities[it] } // stable
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
internal fun FloatArray.largestIndex(): Int = indices.maxBy { this[it] }
